# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible's events say: one by one, and about each host in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

_KINDS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_item_on_ok": "item_ok",
    "runner_item_on_failed": "item_failed",
    "runner_retry": "retry",
    "playbook_on_play_start": "play",
    "playbook_on_task_start": "task",
    "playbook_on_stats": "stats",
    "verbose": "line",
    "warning": "warning",
    "error": "error",
}
_KEPT_LINES = 15
_REFUSED = 2


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``kind`` is a value of the table above, or "" for the rest.

    ``result`` is a module's result; ``is_lost`` says that ansible-runner threw it away for its
    size. ``text`` is what Ansible printed with the event.
    """

    kind: str
    host: str = ""
    play: str = ""
    task: str = ""
    action: str = ""
    result: dict[str, Any] | None = None
    is_lost: bool = False
    is_ignored: bool = False
    text: str = ""
    data: dict[str, Any] | None = None

    @classmethod
    def from_runner(cls, raw: dict[str, Any]) -> Self:
        """Return the event that ansible-runner gave as a dict."""
        data = raw.get("event_data") or {}
        result = data.get("res")
        return cls(
            kind=_KINDS.get(raw.get("event", ""), ""),
            host=str(data.get("host") or ""),
            play=str(data.get("play") or ""),
            task=str(data.get("task") or ""),
            action=str(data.get("resolved_action") or data.get("task_action") or ""),
            result=result if isinstance(result, dict) else None,
            # Every real result says at least whether something changed.
            is_lost=result == {},
            is_ignored=bool(data.get("ignore_errors")),
            text=str(raw.get("stdout") or "").strip("\r\n"),
            data=data,
        )


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """How a host fared: ``state`` is ok, failed or unreachable; ``message`` says why not ok."""

    host: str
    state: str
    message: str = ""
    exit_code: int = 0


class Outcomes:
    """Gathers events into an outcome a host."""

    def __init__(self) -> None:
        self._stats: dict[str, Any] | None = None
        self._failures: dict[str, Event] = {}
        self._lines: list[str] = []

    def take(self, event: Event) -> None:
        """Remember what matters of the event."""
        if event.kind == "stats":
            self._stats = event.data or {}
        elif event.kind in ("failed", "unreachable") and not event.is_ignored:
            if not _repeats(event, self._failures.get(event.host)):
                self._failures[event.host] = event
        elif event.kind in ("line", "warning", "error") and event.text.strip():
            self._lines = [*self._lines[-_KEPT_LINES:], event.text.strip()]

    @property
    def is_complete(self) -> bool:
        """Whether Ansible came to its end and some host was in the play."""
        return bool(self._stats and self._stats.get("processed"))

    def last_words(self) -> str:
        """Return what Ansible said last, for when it said nothing about hosts."""
        errors = [line for line in self._lines if "ERROR" in line]
        return "\n".join(errors or self._lines[-3:]) or "it printed nothing"

    def by_host(self) -> dict[str, HostOutcome]:
        """Return the outcome of every host that was in a play, by name."""
        stats = self._stats or {}
        return {host: self._outcome(host, stats) for host in sorted(stats.get("processed", {}))}

    def _outcome(self, host: str, stats: dict[str, Any]) -> HostOutcome:
        event = self._failures.get(host)
        if host in stats.get("dark", {}):
            return HostOutcome(host, "unreachable", reason_of(event), 1)
        if host in stats.get("failures", {}):
            return HostOutcome(host, "failed", reason_of(event), _exit_code(event))
        return HostOutcome(host, "ok")


def _repeats(event: Event, earlier: Event | None) -> bool:
    """Return whether a play only says again, at its end, what it had rescued before."""
    if event.action != "ansible.builtin.fail" or earlier is None or not earlier.result:
        return False
    return _cause_of(earlier.result) in str((event.result or {}).get("msg"))


def reason_of(event: Event | None) -> str:
    """Return the module's message, or what its command wrote to stderr, with the task's name."""
    if event is None:
        return "failed without a message"
    if event.is_lost:
        return f"{event.task}: the result was too large for ansible-runner and got lost"
    message = _cause_of(event.result or {})
    return f"{event.task}: {message}" if event.kind == "failed" else message


def _cause_of(result: dict[str, Any]) -> str:
    items = [item for item in result.get("results") or [] if isinstance(item, dict)]
    failed = next((item for item in items if item.get("failed")), result)
    if "cmd" in failed and (stderr := str(failed.get("stderr") or "").strip()):
        return stderr
    return str(failed.get("msg") or "failed without a message")


def _exit_code(event: Event | None) -> int:
    """Return 2 when our own command or plugin refused the user's input, else 1.

    A plugin of the collection says so itself, by the key ``exit_code`` of its result.
    """
    result = (event.result if event else None) or {}
    if event and event.action.startswith("nvmelab.bench.") and result.get("exit_code") == _REFUSED:
        return _REFUSED
    is_ours = "nvmelab" in (result.get("cmd") or ())
    return _REFUSED if is_ours and result.get("rc") == _REFUSED else 1
