# SPDX-License-Identifier: GPL-3.0-or-later
"""How a measured quantity is said: never without its n, spread, unit and verdict. Pure."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from nvmelab import units
from nvmelab.show import background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nvmelab.show.latency import Latency
    from nvmelab.show.points import Point
    from nvmelab.show.stats import Spread
    from nvmelab.show.summary import Cell

    Format = Callable[[float | None], str]

_DASH = "\N{EN DASH}"


def between(low: float | None, high: float | None, unit: Format) -> str:
    """Return ``"13.5-14.1 k"``, the unit said once where both have the same."""
    if low is None or high is None:
        return units.NOT_MEASURED
    first, last = unit(low), unit(high)
    number, _, scale = first.partition(" ")
    same = scale == last.partition(" ")[2]
    return f"{number if same else first}{_DASH}{last}"


def percent(value: float | None) -> str:
    """Return ``"12.3 %"``: three significant digits, but at most two decimals."""
    if value is None:
        return units.NOT_MEASURED
    decimals = sum(value < limit for limit in (99.95, 9.995))
    return f"{value:.{decimals}f} %"


def spread(value: Spread | None, unit: Format) -> str:
    """Return ``"13.8 k [13.5-14.1 k] n=2"``: median, least to greatest, repetitions.

    Of a single repetition no range is pretended: ``"13.8 k n=1"``.
    """
    if value is None:
        return units.NOT_MEASURED
    if value.n == 1:
        return f"{unit(value.median)} n=1"
    return f"{unit(value.median)} [{between(value.low, value.high, unit)}] n={value.n}"


def percentile(value: Latency) -> str:
    """Return ``"45.6 µs"``; with ``*`` where fewer than 100 samples lie above it.

    Where repetitions have no histograms to merge, their range: ``"45.1-46.0 µs"``.
    """
    if value.value_ns is not None:
        return units.ns(value.value_ns) + ("*" if value.is_weak else "")
    return between(value.low_ns, value.high_ns, units.ns)


def percentile_detail(value: Latency) -> str:
    """Return what stands behind a percentile: ``"45.1-46.0 µs over n=2, of 9,676 samples"``."""
    if value.low_ns is None:
        few = f"too few of {value.count:,} samples above it" if value.count else "not measured"
        return f"p{value.percent:g}: {few}"
    samples = "no histogram" if value.count is None else f"{value.count:,} samples"
    repetitions = between(value.low_ns, value.high_ns, units.ns)
    return f"p{value.percent:g}: {repetitions} over n={value.n} repetitions, {samples}"


def verdict(cell: Cell) -> str:
    """Return ``"clean"`` or ``"tainted (tcg)"``."""
    return f"{cell.verdict} ({codes(cell.reasons)})" if cell.reasons else cell.verdict


def judged(repetitions: Sequence[Point]) -> str:
    """Return how a cell's repetitions were judged: ``"clean"``, ``"tainted 2/5"``, ``"1 failed"``.

    A state is counted only where not all repetitions have it.
    """
    counts = Counter(point.state for point in repetitions)
    n = len(repetitions)
    parts = [
        state if counts[state] == n else f"{state} {counts[state]}/{n}"
        for state in ("tainted", "unknown", "failed")
        if counts[state]
    ]
    return ", ".join(parts) or "clean"


def marks(repetitions: Sequence[Point]) -> str:
    """Return a letter each repetition where one stands out, else nothing: ``"·!·"``.

    A dot is tainted as every point of the run is.
    """
    is_plain = len({point.state for point in repetitions}) < 2  # noqa: PLR2004
    if is_plain and not any(point.own for point in repetitions):
        return ""
    return "".join(point.mark for point in repetitions)


def own_codes(repetitions: Iterable[Point]) -> str:
    """Return the codes of the reasons that set points apart from the others: ``"steal"``."""
    return codes(reason for point in repetitions for reason in point.own)


def codes(reasons: Iterable[str]) -> str:
    """Return the codes of reasons, each once: ``"tcg, steal"``."""
    return ", ".join(background.codes(reasons))


def listed(words: Iterable[str]) -> str:
    """Return words as a JSON list, for the page's script to search in."""
    return json.dumps(list(words), ensure_ascii=False)
