# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's proof of its host's condition: audited before and after, held and watched meanwhile.

With tuning off nothing is read, held or judged.
"""

from __future__ import annotations

import datetime as dt
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ContextManager, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import (
    audit,
    dma_latency,
    movement,
    movement_reasons,
)

MODES = ("off", "audit", "enforce")
CHANGED = "changed-conditions"
UNPROVEN = "the host could not be audited {} the run: nobody knows what was in force then"


@dataclass(frozen=True)
class Request:
    """What is asked of the host for a run."""

    tuning: str = "off"  # one of MODES
    asked: Mapping[str, Any] = field(default_factory=dict)  # as host.audit takes it
    system: Path = Path("/")

    @property
    def is_on(self) -> bool:
        """Whether anything is looked at."""
        return self.tuning != "off"

    def check(self) -> None:
        """Return when this can be asked of a host.

        Raises:
            BadInputError: an unknown mode, group or setting.
        """
        if self.tuning not in MODES:
            found = f"found {self.tuning!r}, wanted {', '.join(MODES)}"
            raise BadInputError(f"host_state: tuning: {found}")
        audit.check(self.asked)
        self._latency_us()

    def _latency_us(self) -> Optional[int]:
        asked = (self.asked.get("cpupower") or {}).get("dma_latency_us")
        if asked is None or self.tuning != "enforce":
            return None
        if not str(asked).isdigit():
            raise BadInputError(f"dma_latency_us: found {asked!r}, wanted microseconds, 0 or more")
        return int(asked)

    def held(self) -> ContextManager[Optional[str]]:
        """Hold in the block what is in force only while somebody holds it, if it is to be."""
        return dma_latency.hold(self._latency_us(), self.system)

    def sensors(self) -> Optional[movement.Sensors]:
        """Return what tells of movement; None with tuning off."""
        return movement.Sensors(self.system) if self.is_on else None

    def audited(self, lab_directory: Path) -> Optional[dict[str, Any]]:
        """Return ``at``, ``duration_s`` and ``rows``; None with tuning off, or when it failed.

        A defect of ours must not cost the run: it is in the executor's log.
        """
        if not self.is_on:
            return None
        at, began = dt.datetime.now(dt.timezone.utc), time.monotonic()
        try:
            rows = audit.audit(self.asked, lab_directory, self.system, is_run_on=True)
        except Exception:  # noqa: BLE001
            traceback.print_exc()
            return None
        duration_s = round(time.monotonic() - began, 4)
        return {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "duration_s": duration_s, "rows": rows}


def lab_directory_of(run_directory: Path) -> Path:
    """Return the root that ``<root>/runs/<run_id>`` lies in."""
    return run_directory.parent.parent


def begun(
    request: Request, found: Optional[Mapping[str, Any]], earlier: Optional[Mapping[str, Any]]
) -> Optional[dict[str, Any]]:
    """Return the manifest's ``host_state`` of a run that begins, or goes on.

    Args:
        request: what is asked.
        found: the audit of now.
        earlier: the section of before, when the run goes on: its ``before`` stays.
    """
    if not request.is_on:
        return None
    first, resumed = found, []
    if earlier and earlier["before"]:
        first, resumed = earlier["before"], [*earlier.get("resumed", []), found]
    return {
        "asked": dict(request.asked),
        "before": first,
        "resumed": [one for one in resumed if one],
        "after": None,
        "movement": None,
    }


def point_reason(request: Request, found: Optional[Mapping[str, Any]]) -> str:
    """Return why points are tainted that are measured under what this audit found; empty: clean."""
    if found:
        return audit.differing(found["rows"]) or ""
    return UNPROVEN.format("before") if request.is_on else ""


def ended(
    section: Optional[Mapping[str, Any]],
    found: Optional[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
) -> Optional[dict[str, Any]]:
    """Return the section of a run that has ended; ``found`` is the audit after it."""
    if section is None:
        return None
    moved = movement.summary(records)
    return {**section, "after": found, "movement": moved}


def run_reasons(section: Optional[Mapping[str, Any]], codes: Sequence[str]) -> list[dict[str, str]]:
    """Return what taints a whole run, besides the reasons of its points.

    Args:
        section: the manifest's ``host_state``.
        codes: those that the points' reasons have.
    """
    if section is None:
        return []
    reasons = []
    audits = [one for one in (section["before"], *section["resumed"], section["after"]) if one]
    for number, later in enumerate(audits[1:]):
        changes = audit.changes(audits[number]["rows"], later["rows"])
        reasons += [_reason(CHANGED, text) for text in changes]
    if section["after"] is None and audit.CODE not in codes:
        reasons.append(_reason(audit.CODE, UNPROVEN.format("after")))
    return reasons + [
        one for one in movement_reasons.run_reasons(section["movement"]) if one["code"] not in codes
    ]


def _reason(code: str, text: str) -> dict[str, str]:
    return {"code": code, "text": text}
