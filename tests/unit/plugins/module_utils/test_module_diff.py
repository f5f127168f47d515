# SPDX-License-Identifier: GPL-3.0-or-later
"""The diff that modules return."""

from __future__ import annotations

from ansible_collections.nvmelab.bench.plugins.module_utils.module_diff import diff


def test_lines_become_texts_under_one_header() -> None:
    """As Ansible prints them; each line ends, so that the last one makes no remark."""
    assert diff("keys", [], ["a", "b"]) == [
        {"before_header": "keys", "after_header": "keys", "before": "", "after": "a\nb\n"}
    ]


def test_nothing_is_shown_where_nothing_changes() -> None:
    """Equal lines have no entry."""
    assert diff("keys", ["a"], iter(["a"])) == []
