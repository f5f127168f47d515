# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes for hugepages as a user writes them, where no argument spec checks them; pure."""

from __future__ import annotations

import difflib
from typing import Any, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugepages import PAGE_SIZES_KIB

_KEYS = ("page_size", "count", "node")


def faults(key: str, wishes: object) -> list[str]:
    """Return what cannot be meant, one sentence each; none when all can.

    Args:
        key: what the wishes are called where the user wrote them.
        wishes: as role and module hugepages take them; whether the host has such pages and nodes
            is not for here.
    """
    if not isinstance(wishes, (list, tuple)):
        return [f"{key}: found {wishes!r}, wanted a list of wishes"]
    return [
        fault for number, wish in enumerate(wishes) for fault in _of_one(f"{key}[{number}]", wish)
    ]


def _of_one(key: str, wish: object) -> list[str]:
    if not isinstance(wish, Mapping):
        wanted = "a wish, such as {page_size: 2M, count: 512}"
        return [f"{key}: found {wish!r}, wanted {wanted}"]
    found = [_unknown(key, name) for name in wish if name not in _KEYS]
    if wish.get("page_size") not in PAGE_SIZES_KIB:
        wanted = " or ".join(PAGE_SIZES_KIB)
        found.append(f"{key}.page_size: found {_said(wish, 'page_size')}, wanted {wanted}")
    if not _is_count(wish.get("count")):
        found.append(f"{key}.count: found {_said(wish, 'count')}, wanted 0 or more pages")
    if wish.get("node") is not None and not _is_count(wish["node"]):
        found.append(f"{key}.node: found {wish['node']!r}, wanted a NUMA node's number, or none")
    return found


def _is_count(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found >= 0


def _said(wish: Mapping[Any, Any], name: str) -> str:
    return repr(wish[name]) if name in wish else "nothing"


def _unknown(key: str, name: object) -> str:
    near = difflib.get_close_matches(str(name), _KEYS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{key}: no key {name!r}, wanted {', '.join(_KEYS)}{hint}"
