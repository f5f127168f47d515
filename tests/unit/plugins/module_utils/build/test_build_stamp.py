# SPDX-License-Identifier: GPL-3.0-or-later
"""What decides that two builds are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.build import stamp
from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import Product, Recipe

COMMIT = "a" * 40
RECIPE = Recipe(
    name="greet",
    url="https://hub.example/greet",
    ref="greet-1.0",
    sha256=None,
    commit=None,
    version="1.0",
    submodules=None,
    overrides={},
    configure=("./configure", "--prefix={prefix}"),
    configure_if_known=(),
    build=("make",),
    install=("make", "install"),
    environment={"CFLAGS": "-O2"},
    products=(),
    tools=("cc",),
    checks=(),
)


def inputs(recipe: Recipe = RECIPE, **changes: Any) -> dict[str, Any]:
    """The inputs of a build, some of them other than usual."""
    usual: dict[str, Any] = {
        "commits": {"": COMMIT, "sub": "b" * 40},
        "toolchain": {"cc": "cc 12.2"},
        "machine": "x86_64",
    }
    return stamp.inputs_of(recipe, **{**usual, **changes})


OTHERS = [
    inputs(commits={"": "c" * 40, "sub": "b" * 40}),
    inputs(commits={"": COMMIT, "sub": "c" * 40}),
    inputs(commits={"": COMMIT}),
    inputs(toolchain={"cc": "cc 14.1"}),
    inputs(machine="aarch64"),
    inputs(replace(RECIPE, configure=("./configure", "--prefix={prefix}", "--debug"))),
    inputs(replace(RECIPE, configure_if_known=("--debug",))),
    inputs(replace(RECIPE, build=("make", "V=1"))),
    inputs(replace(RECIPE, install=())),
    inputs(replace(RECIPE, environment={"CFLAGS": "-O3"})),
    inputs(replace(RECIPE, environment={})),
    inputs(replace(RECIPE, products=(Product("bin/*", "bin"),))),
    inputs(replace(RECIPE, ref=None, sha256="d" * 64)),
]


def test_everything_that_alters_a_build_alters_its_digest() -> None:
    """One changed input, one digest that no other has."""
    digests = [stamp.digest_of(each) for each in [inputs(), *OTHERS]]
    assert len(set(digests)) == len(digests)


def test_what_alters_no_build_alters_no_digest() -> None:
    """The place it was fetched from, the tag's name, and what is asked of it afterwards."""
    other = replace(RECIPE, url="https://mirror/greet", ref=COMMIT, version="x", tools=())
    assert stamp.digest_of(inputs(other)) == stamp.digest_of(inputs())


VALUES = st.recursive(
    st.text(max_size=4) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
INPUTS = st.dictionaries(st.sampled_from(["configure", "source", "toolchain", "x"]), VALUES)


@given(INPUTS, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(found: dict[str, Any], random: Any) -> None:
    """A dictionary that is written down in another order has the same digest."""
    keys = list(found)
    random.shuffle(keys)
    assert stamp.digest_of({key: found[key] for key in keys}) == stamp.digest_of(found)


@given(INPUTS, INPUTS)
def test_differences_are_named_exactly_when_there_are_some(
    found: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Equal inputs differ in nothing; different ones are told apart in words."""
    lines = stamp.differences(found, wanted)
    absent_is_none = {**dict.fromkeys(wanted), **found} == {**dict.fromkeys(found), **wanted}
    if found == wanted:
        assert lines == []
    elif not absent_is_none and _plain(found) and _plain(wanted):
        assert lines != []


def _plain(value: dict[str, Any]) -> bool:
    """Without null inside, which no real stamp holds: absent and null are one in the words."""
    return "null" not in stamp.json.dumps(value)


def test_a_difference_names_only_the_words_that_differ() -> None:
    """Of a long command those arguments that came and went; of a mapping its key."""
    found = {"configure": ["./configure", "--a", "--b"], "toolchain": {"cc": "12", "make": "4"}}
    wanted = {"configure": ["./configure", "--b", "--c"], "toolchain": {"cc": "14", "make": "4"}}
    assert stamp.differences(found, wanted) == [
        "configure: found --a, wanted --c",
        "toolchain cc: found 12, wanted 14",
    ]


def test_another_order_of_arguments_is_a_difference() -> None:
    """No word came or went, so the whole lists are shown."""
    lines = stamp.differences({"build": ["a", "b"]}, {"build": ["b", "a"]})
    assert lines == ["build: found a b, wanted b a"]


def test_the_closest_stamp_is_the_one_with_the_fewest_differences() -> None:
    """So that a changed argument is explained by that argument alone."""
    far = {"prefix": "far", "inputs": OTHERS[-1]}
    near = {"prefix": "near", "inputs": OTHERS[3]}
    found, lines = stamp.closest([far, near], inputs())
    assert (found["prefix"], lines) == ("near", ["toolchain cc: found cc 14.1, wanted cc 12.2"])
