# SPDX-License-Identifier: GPL-3.0-or-later
"""Git repositories of our own making: resolved, fetched once, put together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from git_sources import Origin, origin, product

from ansible_collections.nvmelab.bench.plugins.module_utils.build import git_tree
from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import (
    BuildError,
    NotCachedError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.git_tree import Access, Piece
from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import Recipe, recipe_of

HUB = "https://hub.example/"


class Lab:
    """A hub of repositories, and a lab host that can reach it as a mirror only."""

    def __init__(self, folder: Path) -> None:
        self.hub = folder / "hub"
        self.cache = folder / "cache"
        self.mirrors = {HUB: str(self.hub)}

    def access(self, **changes: Any) -> Access:
        """How the host gets sources."""
        usual = {"mirrors": self.mirrors, "offline": False, "refresh": False}
        return Access(folder=self.cache, deadline=Deadline(60), **{**usual, **changes})

    def resolve(self, recipe: Recipe, **changes: Any) -> dict[str, Piece]:
        """The pieces of a recipe by their path."""
        pieces = git_tree.resolve(recipe, self.access(**changes))
        return {piece.path: piece for piece in pieces}


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def recipe(name: str, ref: str, **changes: Any) -> Recipe:
    """A recipe of a repository on the hub."""
    usual: dict[str, Any] = {
        "name": name,
        "url": HUB + name,
        "ref": ref,
        "commit": None,
        "sha256": None,
        "version": None,
        "submodules": None,
        "submodule_overrides": {},
        "configure": [],
        "configure_if_known": [],
        "build": [],
        "install": [],
        "environment": {},
        "products": [],
        "tools": [],
        "checks": [],
    }
    return recipe_of({**usual, **changes})


def family(lab: Lab) -> tuple[Origin, str, str]:
    """app, with the submodule lib/sub, which has the submodule inner; their pinned commits."""
    inner, sub, app = (
        origin(lab.hub / "inner"),
        origin(lab.hub / "sub.git"),
        product(lab.hub / "app"),
    )
    inner_pin = inner.commit({"inner.txt": "pinned"}, tag="v0.9")
    inner.commit({"inner.txt": "newer"}, tag="v1.0")
    sub.submodule("inner", HUB + "inner", inner_pin)
    sub_pin = sub.commit({"sub.txt": "pinned"})
    app.submodule("lib/sub", "../sub.git", sub_pin)
    app.commit({"README": "with a submodule"}, tag="v2")
    return app, sub_pin, inner_pin


@pytest.mark.parametrize("ref", ["greet-1.0", "FULL", "SHORT"])
def test_tags_and_hashes_resolve_to_the_full_hash(lab: Lab, ref: str) -> None:
    """An annotated tag to its commit; a short hash, though servers know none, to the full one."""
    app = product(lab.hub / "app")
    commit = app.git("rev-parse", "greet-1.0^{commit}")
    app.commit({"later": "x"})
    ref = {"FULL": commit, "SHORT": commit[:10]}.get(ref, ref)
    assert lab.resolve(recipe("app", ref))[""].commit == commit


def test_what_was_fetched_once_is_there_without_the_source(lab: Lab) -> None:
    """Later runs need the network no more, submodules included."""
    family(lab)
    first = lab.resolve(recipe("app", "v2"))
    lab.hub.rename(lab.hub.with_name("gone"))
    again = lab.resolve(recipe("app", "v2"), offline=True)
    assert {path: piece.commit for path, piece in again.items()} == {
        path: piece.commit for path, piece in first.items()
    }


def test_submodules_come_at_their_pins_at_any_depth(lab: Lab) -> None:
    """Not at the tip of their branch; a relative URL and a missing .git end find them."""
    _, sub_pin, inner_pin = family(lab)
    pieces = lab.resolve(recipe("app", "v2"))
    assert {path: piece.commit for path, piece in pieces.items() if path} == {
        "lib/sub": sub_pin,
        "lib/sub/inner": inner_pin,
    }
    assert not any(piece.is_stand_in for piece in pieces.values())


def test_only_wanted_submodules_are_fetched(lab: Lab) -> None:
    """A submodule that nobody wants may be out of reach."""
    family(lab)
    (lab.hub / "inner").rename(lab.hub / "away")
    assert set(lab.resolve(recipe("app", "v2", submodules=["lib/sub"]))) == {"", "lib/sub"}
    assert set(lab.resolve(recipe("app", "v2", submodules=[]))) == {""}


def test_the_tree_is_written_whole_and_without_git(lab: Lab, tmp_path: Path) -> None:
    """Files of all repositories, those that may be run as such, and nothing else."""
    family(lab)
    git_tree.export(list(lab.resolve(recipe("app", "v2")).values()), tmp_path / "tree")
    files = {str(p.relative_to(tmp_path / "tree")) for p in (tmp_path / "tree").rglob("*.txt")}
    assert files == {"lib/sub/sub.txt", "lib/sub/inner/inner.txt"}
    assert (tmp_path / "tree/lib/sub/inner/inner.txt").read_text() == "pinned"
    assert (tmp_path / "tree/configure").stat().st_mode & 0o777 == 0o755
    assert not list((tmp_path / "tree").rglob(".git"))


def test_a_dirty_origin_does_not_leak_into_the_tree(lab: Lab, tmp_path: Path) -> None:
    """What is changed but not committed at a local source is not built."""
    app = product(lab.hub / "app")
    (app.folder / "greet.in").write_text("dirty")
    (app.folder / "new").write_text("dirty")
    git_tree.export(list(lab.resolve(recipe("app", "greet-1.0")).values()), tmp_path / "tree")
    assert "dirty" not in (tmp_path / "tree/greet.in").read_text()
    assert not (tmp_path / "tree/new").exists()


def test_a_stand_in_takes_the_place_of_a_pin_and_is_called_so(lab: Lab) -> None:
    """By tag, from another repository; what was pinned stays on record."""
    _, _, inner_pin = family(lab)
    fork = origin(lab.hub / "fork")
    commit = fork.commit({"inner.txt": "fork"}, tag="v1.0")
    overrides = {"lib/sub/inner": {"url": HUB + "fork", "ref": "v1.0"}}
    piece = lab.resolve(recipe("app", "v2", submodule_overrides=overrides))["lib/sub/inner"]
    assert (piece.commit, piece.pinned, piece.is_stand_in) == (commit, inner_pin, True)
    assert piece.as_dict()["fetched_from"] == str(lab.hub / "fork")


def test_a_repository_can_be_put_in_where_no_submodule_is(lab: Lab, tmp_path: Path) -> None:
    """For what a build would download by itself, e.g. meson's wraps."""
    product(lab.hub / "app")
    commit = origin(lab.hub / "wrap").commit({"wrap.txt": "here"}, tag="w1")
    overrides = {"subprojects/wrap": {"url": HUB + "wrap", "ref": "w1"}}
    pieces = lab.resolve(recipe("app", "greet-1.0", submodule_overrides=overrides))
    assert pieces["subprojects/wrap"].as_dict() == {
        "path": "subprojects/wrap",
        "url": HUB + "wrap",
        "fetched_from": str(lab.hub / "wrap"),
        "ref": "w1",
        "commit": commit,
        "pinned": None,
        "stand_in": False,
    }
    git_tree.export(list(pieces.values()), tmp_path / "tree")
    assert (tmp_path / "tree/subprojects/wrap/wrap.txt").read_text() == "here"


def test_a_pin_that_the_source_has_not_is_named_with_the_way_out(lab: Lab) -> None:
    """As with snapshots, which hold a newer history than the pin."""
    app = product(lab.hub / "app")
    origin(lab.hub / "sub").commit({"a": "b"}, tag="v25.03")
    app.submodule("sub", HUB + "sub", "c" * 40)
    app.commit({"x": "y"}, tag="v3")
    with pytest.raises(BuildError, match=r"submodule sub: c{40}.*submodule_overrides: \{sub:"):
        lab.resolve(recipe("app", "v3"))


def test_a_wrong_tag_is_answered_with_the_nearest_tags(lab: Lab) -> None:
    """So that a slip needs no search."""
    product(lab.hub / "app", tag="v25.05").commit({"a": "b"}, tag="v25.09")
    with pytest.raises(BuildError, match=r"v25\.5: no such tag.*nearest tags are v25\.05, v25\.09"):
        lab.resolve(recipe("app", "v25.5"))


def test_a_branch_is_refused_with_its_commit(lab: Lab) -> None:
    """For it is not the same tomorrow."""
    commit = product(lab.hub / "app").git("rev-parse", "HEAD")
    with pytest.raises(BuildError, match=f"main is a branch of .* which moves.*{commit}"):
        lab.resolve(recipe("app", "main"))


def test_an_unreachable_place_is_named_with_its_mirror(lab: Lab) -> None:
    """URL, mirror, git's own reason and what to do, in one line."""
    with pytest.raises(BuildError) as caught:
        lab.resolve(recipe("app", "v1"))
    text = str(caught.value)
    assert text.startswith(f"{HUB}app (mirror {lab.hub}/app) cannot be fetched: ")
    assert "mirrors" in text
    assert "\n" not in text


def test_a_commit_that_is_nowhere_is_said_so(lab: Lab) -> None:
    """Also when everything was fetched in vain."""
    product(lab.hub / "app")
    with pytest.raises(BuildError, match=r"d{40}: no such tag or commit|not our ref"):
        lab.resolve(recipe("app", "d" * 40))


def test_a_submodule_that_is_not_there_is_named_beside_those_that_are(lab: Lab) -> None:
    """In the list of wanted ones, and among the overrides."""
    family(lab)
    with pytest.raises(BuildError, match=r"no submodule lib/sup .it has: lib/sub, lib/sub/inner"):
        lab.resolve(recipe("app", "v2", submodules=["lib/sub", "lib/sub/inner", "lib/sup"]))
    with pytest.raises(BuildError, match="submodule_overrides: app v2 has no submodule nope"):
        lab.resolve(recipe("app", "v2", submodule_overrides={"nope": {"ref": "v1"}}))


def test_offline_fetches_nothing(lab: Lab) -> None:
    """A source that is in reach is not touched, and the cache is named."""
    product(lab.hub / "app")
    with pytest.raises(NotCachedError, match=r"greet-1.0 of .* is not in the cache"):
        lab.resolve(recipe("app", "greet-1.0"), offline=True)
    assert not lab.cache.exists()


def test_a_tag_that_moved_is_followed_only_when_asked(lab: Lab) -> None:
    """The pin is what was resolved first; commit makes the move an error."""
    app = product(lab.hub / "app", tag="v1")
    first = lab.resolve(recipe("app", "v1"))[""].commit
    second = app.commit({"moved": "yes"}, tag="v1")
    assert lab.resolve(recipe("app", "v1"))[""].commit == first
    assert lab.resolve(recipe("app", "v1"), refresh=True)[""].commit == second
    with pytest.raises(BuildError, match=f"found commit {second}, wanted {first}"):
        lab.resolve(recipe("app", "v1", commit=first))


def test_a_new_mirror_does_not_fetch_again(lab: Lab) -> None:
    """The cache belongs to the URL; where it came from is no part of it."""
    product(lab.hub / "app")
    lab.resolve(recipe("app", "greet-1.0"))
    found = lab.resolve(recipe("app", "greet-1.0"), mirrors={HUB: "/nowhere"})
    assert found[""].cache.place == "/nowhere/app"


def test_a_bare_repository_of_another_user_serves(lab: Lab, tmp_path: Path) -> None:
    """The care of git for folders of others is for folders that were not named on purpose."""
    app = product(tmp_path / "work")
    bare = lab.hub / "app.git"
    app.git("clone", "--quiet", "--bare", str(app.folder), str(bare))
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    for path in (bare, *bare.rglob("*")):
        os.chown(path, 65534, 65534)
    mirrors = {HUB + "app": str(bare)}
    assert lab.resolve(recipe("app", "greet-1.0"), mirrors=mirrors)[""].commit


def test_the_locks_of_a_killed_fetch_do_no_harm(lab: Lab) -> None:
    """Beside them git would refuse to work for ever."""
    app = product(lab.hub / "app")
    lab.resolve(recipe("app", "greet-1.0"))
    app.commit({"more": "x"}, tag="greet-1.1")
    cache = lab.access().cache(HUB + "app")
    for name in ("shallow.lock", "packed-refs.lock"):
        (cache.git_dir / name).touch()
    assert lab.resolve(recipe("app", "greet-1.1"))


def test_an_outer_git_does_not_reach_in(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the module is started from a git hook."""
    commit = product(lab.hub / "app").git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert lab.resolve(recipe("app", "greet-1.0"))[""].commit == commit
