# SPDX-License-Identifier: GPL-3.0-or-later
"""The reasons that all points of a run have in common, so that the others can stand out. Pure.

On a host that is never clean, a virtual one for instance, every point is tainted alike. Told per
place, for what ran in a guest may be tainted for reasons (TCG) that the host's points never have.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nvmelab.store.records import Row, Run

_OTHER_FIGURES = "with figures of its own at each point"


@dataclass(frozen=True, slots=True)
class Background:
    """What the points of a place (guest or host) share: codes, and reasons word by word."""

    codes: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def told(self) -> tuple[str, ...]:
        """A reason a code; where the figures differ from point to point, that they do."""
        same = {code: reason for reason in self.reasons for code in codes([reason])}
        return tuple(same.get(code, f"{code}: {_OTHER_FIGURES}") for code in self.codes)


NONE = Background((), ())


def codes(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return the codes of reasons, which are ``code: text``, each once."""
    return tuple(dict.fromkeys(reason.partition(":")[0] for reason in reasons))


def backgrounds(run: Run) -> dict[str, Background]:
    """Return place -> what the measured points there share.

    A lone point at its place is compared with all of the run; a lone point of a run with nobody:
    there is nothing that it could share.
    """
    every: dict[str, tuple[str, ...]] = {}
    by_place: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for row in run.rows:
        every[row.point_id] = by_place[row.runs_on][row.point_id] = row.verdict_reasons
    return {
        place: _shared(list((there if len(there) > 1 else every).values()))
        for place, there in by_place.items()
    }


def told_by_place(run: Run) -> list[tuple[str, tuple[str, ...]]]:
    """Return (which points, the reasons they share), once where guest and host have the same."""
    found = backgrounds(run)
    told = {place: found[place].told for place in found if found[place].codes}
    if len(told) == len(found) > 0 and len(set(told.values())) == 1:
        return [("every point", next(iter(told.values())))]
    where = {"host": "every point on the host", "guest": "every point in a guest"}
    return [(where.get(place, f"every point on {place}"), told[place]) for place in told]


def divide(row: Row, background: Background) -> tuple[tuple[str, ...], ...]:
    """Return the row's reasons as (its own, shared with other figures, shared word by word)."""
    own, varying, same = [], [], []
    for reason in row.verdict_reasons:
        if reason in background.reasons:
            same.append(reason)
        elif codes([reason])[0] in background.codes:
            varying.append(reason)
        else:
            own.append(reason)
    return tuple(own), tuple(varying), tuple(same)


def _shared(reasons: list[tuple[str, ...]]) -> Background:
    if len(reasons) < 2:  # noqa: PLR2004
        return NONE
    first = reasons[0]
    common_codes = set.intersection(*(set(codes(one)) for one in reasons))
    common = set.intersection(*map(set, reasons))
    return Background(
        tuple(code for code in codes(first) if code in common_codes),
        tuple(reason for reason in first if reason in common),
    )
