# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a source is fetched from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.build import mirrors

HUB = "https://hub.example/"


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({}, "https://hub.example/spdk/dpdk.git"),
        ({HUB: "/srv/git/"}, "/srv/git/spdk/dpdk.git"),
        ({HUB: "https://git.lab/mirror"}, "https://git.lab/mirror/spdk/dpdk.git"),
        ({HUB: "/srv", "https://hub.example/spdk/dpdk": "/one.git"}, "/one.git"),
        ({HUB: "/srv", "https://hub.example/spdk/": "/two"}, "/two/dpdk.git"),
        ({"https://hub.example/spdk": "/not-a-prefix"}, "https://hub.example/spdk/dpdk.git"),
    ],
)
def test_the_longest_key_that_fits_decides(table: dict[str, str], place: str) -> None:
    """A key with a slash at its end fits what is below it, another key just itself."""
    assert mirrors.fetched_from("https://hub.example/spdk/dpdk.git", table) == place


@given(st.dictionaries(st.sampled_from([HUB, HUB + "a/", HUB + "b"]), st.just("/m"), max_size=3))
def test_the_order_of_the_table_does_not_matter(table: dict[str, str]) -> None:
    """Two tables of the same pairs lead to the same place."""
    turned = dict(reversed(list(table.items())))
    for url in (HUB + "a/x", HUB + "b", HUB + "b.git", "ssh://else/where"):
        assert mirrors.fetched_from(url, table) == mirrors.fetched_from(url, turned)


@pytest.mark.parametrize(
    ("url", "parent", "wanted"),
    [
        ("../dpdk.git", "https://hub.example/spdk/spdk.git", "https://hub.example/spdk/dpdk.git"),
        ("./sub", "https://hub.example/a/b/", "https://hub.example/a/b/sub"),
        ("../../c/d", "https://hub.example/a/b", "https://hub.example/c/d"),
        ("../d", "/srv/git/a.git", "/srv/git/d"),
        ("https://other/x", "https://hub.example/a", "https://other/x"),
    ],
)
def test_a_relative_submodule_is_found_beside_its_parent(
    url: str, parent: str, wanted: str
) -> None:
    """As git does, and never above the host's name."""
    assert mirrors.resolved(url, parent) == wanted


def test_a_token_in_a_url_is_not_shown() -> None:
    """What stands before the @ is a secret; a user name in an ssh URL is hidden with it."""
    assert mirrors.redacted("fetch https://me:s3cret@hub/x") == "fetch https://***@hub/x"


def test_urls_that_mean_the_same_share_a_cache() -> None:
    """The end .git or a slash makes no other repository; another host does."""
    name = mirrors.cache_name("https://hub.example/spdk/dpdk")
    assert name.startswith("dpdk-")
    assert mirrors.cache_name("https://hub.example/spdk/dpdk.git/") == name
    assert mirrors.cache_name("https://elsewhere.example/spdk/dpdk") != name
