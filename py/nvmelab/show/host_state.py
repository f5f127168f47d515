# SPDX-License-Identifier: GPL-3.0-or-later
"""The condition of a run's host: what was asked of it, what was in force, what moved. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nvmelab import units
from nvmelab.show import wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nvmelab.store.records import Run

# From what a reader must see to what may stay folded.
STATES = ("differs", "unavailable", "recorded", "ok")
WORDS = {
    "differs": "not as asked",
    "unavailable": "not available",
    "recorded": "recorded only",
    "ok": "as asked",
}
NOT_ASKED = "not asked"
NOT_AUDITED = "not audited"
_NO_RECORD = "this run was recorded by an nvmelab that did not audit hosts"
_OFF = "nvmelab_tuning was off"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the host. ``state`` is the worse of before and after the run.

    ``is_changed``: after the run another value was in force than before it. ``text``: what the
    other columns do not say already.
    """

    group: str
    knob: str
    asked: str
    before: str
    after: str
    state: str
    text: str
    is_changed: bool

    @property
    def name(self) -> str:
        """The setting as ``nvmelab_host_state`` has it: ``cpupower.governor``."""
        return self.knob if self.knob == self.group else f"{self.group}.{self.knob}"

    @property
    def told(self) -> str:
        """The setting in a line: ``"powersave, then performance, asked performance; …"``."""
        values = f"{self.before}, then {self.after}" if self.is_changed else self.before
        asked = "" if self.asked == NOT_ASKED else f", asked {self.asked}"
        return f"{values}{asked}" + (f"; {self.text}" if self.text else "")

    @property
    def is_notable(self) -> bool:
        """Whether a reader must see it: not as asked, or changed during the run."""
        return self.state == "differs" or self.is_changed


@dataclass(frozen=True, slots=True)
class Audit:
    """What the audit of a host said; ``why_not`` says why there was none, else it is empty.

    ``missing``: the look before or after the run that could not be taken. ``busiest``: processes
    of others that used the most CPU time during the run.
    """

    tuning: str
    settings: tuple[Setting, ...]
    why_not: str = ""
    missing: str = ""
    busiest: tuple[str, ...] = ()

    @property
    def notable(self) -> list[Setting]:
        """What a reader must see."""
        return [setting for setting in self.settings if setting.is_notable]

    @property
    def rest(self) -> list[Setting]:
        """The other settings, by state and then as the host gave them."""
        rest = [setting for setting in self.settings if not setting.is_notable]
        return sorted(rest, key=lambda setting: _rank(setting.state))

    @property
    def summary(self) -> str:
        """The audit in one sentence: ``"3 of 14 settings are not as asked, 2 not available"``."""
        if self.why_not:
            return f"not audited: {self.why_not}"
        counts = {state: self._count(state) for state in STATES}
        asked = counts["differs"] + counts["ok"]
        if not asked:
            parts = ["no setting was asked for"]
        elif counts["differs"]:
            verb = "is" if counts["differs"] == 1 else "are"
            parts = [f"{counts['differs']} of {units.count(asked, 'setting')} {verb} not as asked"]
        else:
            parts = [f"{asked} of {units.count(asked, 'setting')} as asked"]
        changed = sum(setting.is_changed for setting in self.settings)
        parts += [f"{changed} changed during the run"] if changed else []
        parts += [f"{counts['unavailable']} not available here"] if counts["unavailable"] else []
        parts += [f"{counts['recorded']} recorded only"] if counts["recorded"] else []
        return ", ".join(parts)

    def _count(self, state: str) -> int:
        return sum(setting.state == state for setting in self.settings)


def audit(run: Run) -> Audit:
    """Return the audit of the run's host; an older record, or tuning off, has none."""
    tuning = str(run.manifest.get("tuning") or "")
    host_state = run.manifest.get("host_state")
    if not isinstance(host_state, dict):
        return Audit(tuning, (), _OFF if tuning == "off" else _NO_RECORD)
    before, after = (_rows(host_state.get(when)) for when in ("before", "after"))
    missing = [when for when, rows in (("before", before), ("after", after)) if not rows]
    return Audit(
        tuning,
        tuple(_setting(key, before.get(key), after.get(key)) for key in {**before, **after}),
        why_not="the host could not be asked" if len(missing) > 1 else "",
        missing=missing[0] if len(missing) == 1 else "",
        busiest=_busiest(host_state.get("movement")),
    )


def effective(run: Run) -> dict[str, str]:
    """Return what was in force by setting, for comparing runs; empty where nothing was audited."""
    return {
        setting.name: f"{setting.before}, then {setting.after}"
        if setting.is_changed
        else setting.before
        for setting in audit(run).settings
    }


def _rows(part: object) -> dict[tuple[str, str], Mapping[str, Any]]:
    rows = part.get("rows") if isinstance(part, dict) else None
    return {(str(row.get("group")), str(row.get("knob"))): row for row in _dicts(rows)}


def _dicts(rows: object) -> Iterable[Mapping[str, Any]]:
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _setting(
    key: tuple[str, str], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Setting:
    group, knob = key
    known = [row for row in (before, after) if row is not None]
    worst = min(known, key=lambda row: _rank(str(row.get("state"))))
    values = [_effective(row) for row in (before, after)]
    return Setting(
        group=group,
        knob=knob,
        asked=NOT_ASKED if worst.get("asked") is None else str(worst["asked"]),
        before=values[0],
        after=values[1],
        state=str(worst.get("state")),
        text=_remark(worst),
        is_changed=len(known) > 1 and values[0] != values[1],
    )


def _effective(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return NOT_AUDITED
    found = row.get("effective")
    return units.NOT_MEASURED if found is None else str(found)


def _remark(row: Mapping[str, Any]) -> str:
    """Return the row's sentence without what stands in the columns beside it."""
    knob, text = row.get("knob"), str(row.get("text") or "")
    for known in (
        f"{knob} is not available: ",
        f"{knob} is {row.get('effective')}",
        f", wanted {row.get('asked')}",
        ", as asked",
        "; ",
    ):
        text = text.removeprefix(known)
    return text.strip()


def _busiest(movement: object) -> tuple[str, ...]:
    found = movement.get("busiest_others") if isinstance(movement, dict) else None
    return tuple(
        f"{one.get('name')} ({wording.percent(one.get('cpu_percent'))})" for one in _dicts(found)
    )


def _rank(state: str) -> int:
    return STATES.index(state) if state in STATES else -1
