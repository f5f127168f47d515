# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One point in several guests at once: all are ready, then all start, then all are waited for.

With one guest it is the plain conversation: asked, started, finished.
"""

# ruff: noqa: B905 (zip's strict is Python 3.10's)

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, NoReturn, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run.agent_connection import AgentError

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.agent_connection import (
        AgentConnection,
    )

Event = dict[str, Any]


class PartLostError(NvmelabError):
    """The conversation with one of several guests ended."""


@dataclass(frozen=True)
class Speaker:
    """An agent and the name of the guest that it works in; None where it is the only one."""

    name: Optional[str]
    connection: AgentConnection


class Talk:
    """One point's conversation with all its agents."""

    def __init__(self, speakers: Sequence[Speaker]) -> None:
        self._speakers = speakers
        self._held = len(speakers) > 1
        self.argvs: list[list[str]] = []
        self.start_s: Optional[float] = None  # all started within so many seconds

    def begin(
        self, requests: Sequence[Mapping[str, Any]], *, deadline_s: float, check: Callable[[], None]
    ) -> Optional[str]:
        """Have the point started everywhere; the cause when one refused, then none runs.

        Raises:
            NvmelabError: an agent does not answer, or ``check`` found why.
        """
        end = time.monotonic() + deadline_s
        for speaker, request in zip(self._speakers, requests):
            held = {"hold": True} if self._held else {}
            speaker.connection.request({**request, **held})
        firsts = [self._event(speaker, end, check) for speaker in self._speakers]
        refused = next((n for n, first in enumerate(firsts) if first["event"] == "refused"), None)
        if refused is not None:
            self._release(firsts, end, check)
            return named(self._speakers[refused].name, str(firsts[refused]["cause"]))
        if self._held:
            firsts = self._start(requests, end, check)
        self.argvs = [first["argv"] for first in firsts]
        return None

    def _start(
        self, requests: Sequence[Mapping[str, Any]], end: float, check: Callable[[], None]
    ) -> list[Event]:
        began = time.monotonic()
        for speaker, request in zip(self._speakers, requests):
            speaker.connection.request({"id": request["id"], "go": True})
        firsts = [self._event(speaker, end, check) for speaker in self._speakers]
        self.start_s = time.monotonic() - began
        return firsts

    def _release(self, firsts: Sequence[Event], end: float, check: Callable[[], None]) -> None:
        """Let those go on that wait for a start that does not come."""
        for speaker, first in zip(self._speakers, firsts):
            if first["event"] == "ready":
                speaker.connection.request({"id": first["id"], "go": False})
                self._event(speaker, end, check)

    def finish(self, *, deadline_s: float, check: Callable[[], None]) -> list[Event]:
        """Return what each agent has to tell of its fio, in the speakers' order.

        Raises:
            NvmelabError: an agent does not answer in time, or ``check`` found why.
        """
        end = time.monotonic() + deadline_s
        return [self._event(speaker, end, check) for speaker in self._speakers]

    def _event(self, speaker: Speaker, end: float, check: Callable[[], None]) -> Event:
        left = max(0.0, end - time.monotonic())
        try:
            return speaker.connection.event(deadline_s=left, check=check)
        except AgentError as error:
            self._lost(speaker, error)

    def _lost(self, speaker: Speaker, error: AgentError) -> NoReturn:
        if speaker.name is None:
            raise error
        raise PartLostError(f"{speaker.name}: {error.args[0]}", log=error.log) from error


def named(name: Optional[str], text: str) -> str:
    """Return a text that says of which guest it is true, where there are several."""
    return f"{name}: {text}" if name else text
