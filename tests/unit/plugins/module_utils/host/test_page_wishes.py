# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes for hugepages, where no argument spec has checked them."""

from __future__ import annotations

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.host.page_wishes import faults


@pytest.mark.parametrize(
    "wishes",
    [
        [],
        [{"page_size": "2M", "count": 0}],
        [{"page_size": "1G", "count": 4, "node": 0}, {"page_size": "2M", "count": 1, "node": None}],
    ],
)
def test_what_can_be_meant(wishes: list[dict[str, object]]) -> None:
    """Nothing to say; zero is a count and a node, null is no node."""
    assert faults("pages", wishes) == []


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("2M", "p[0]: found '2M', wanted a wish, such as {page_size: 2M, count: 512}"),
        ({"page_size": "3M", "count": 1}, "p[0].page_size: found '3M', wanted 2M or 1G"),
        ({"count": 1}, "p[0].page_size: found nothing, wanted 2M or 1G"),
        ({"page_size": "2M"}, "p[0].count: found nothing, wanted 0 or more pages"),
        ({"page_size": "2M", "count": -1}, "p[0].count: found -1, wanted 0 or more pages"),
        ({"page_size": "2M", "count": "4"}, "p[0].count: found '4', wanted 0 or more pages"),
        ({"page_size": "2M", "count": True}, "p[0].count: found True, wanted 0 or more pages"),
        (
            {"page_size": "2M", "count": 1, "node": "a"},
            "p[0].node: found 'a', wanted a NUMA node's number, or none",
        ),
        (
            {"page_size": "2M", "count": 1, "nod": 0},
            "p[0]: no key 'nod', wanted page_size, count, node; did you mean 'node'?",
        ),
    ],
)
def test_what_cannot(wish: object, said: str) -> None:
    """One sentence: which wish and key, what was found, what is wanted."""
    assert faults("p", [wish]) == [said]


def test_every_fault_is_told() -> None:
    """Of each wish and key."""
    assert len(faults("p", [{"count": -1, "colour": 3}, {"page_size": "1G", "count": 1}, 7])) == 4
    assert faults("p", 3) == ["p: found 3, wanted a list of wishes"]
