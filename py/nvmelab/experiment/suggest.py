# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences about a wrong name: what was found, what is allowed, what was probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LISTED_MAX = 24  # a longer list of allowed names hides the message


def nearest(found: str, allowed: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The allowed name most like ``found``, or None when none is like it."""
    matches = difflib.get_close_matches(found, list(allowed), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing when no allowed name is like ``found``."""
    match = nearest(found, allowed)
    return f"; did you mean {match!r}?" if match else ""


def not_allowed(found: object, allowed: Iterable[str]) -> str:
    """``found 'x'; allowed: a, b; did you mean 'a'?`` with a long list left out."""
    names = sorted(set(allowed))
    listed = f"; allowed: {', '.join(names)}" if len(names) <= _LISTED_MAX else ""
    return f"found {found!r}{listed}{did_you_mean(str(found), names)}"
