# SPDX-License-Identifier: GPL-3.0-or-later
"""Stacks that a host cannot run, told to people: each reason once, with its stacks; pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SHOWN_NAMES = 4


def by_reason(skips: Iterable[Mapping[str, str]]) -> list[tuple[list[str], str]]:
    """The names of the stacks that share a reason, and it; both in the order of the skips."""
    names: dict[str, list[str]] = defaultdict(list)
    for skip in skips:
        names[str(skip["reason"])].append(str(skip["stack"]))
    return [(stacks, reason) for reason, stacks in names.items()]


def told(names: Sequence[str]) -> str:
    """The names; of many the first: ``a-c4, a-c5, a-c6, a-c7 and 32 more``."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def lines(skips: Iterable[Mapping[str, str]]) -> list[str]:
    """A line for each reason: its stacks, a colon and the reason."""
    return [f"{told(names)}: {reason}" for names, reason in by_reason(skips)]
