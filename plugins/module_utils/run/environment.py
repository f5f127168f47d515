# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place that points run in: brought up, asked after, taken down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run.agent_connection import (
    AgentConnection,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Part, Place, Target

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

HELLO_S = 60.0


class EnvironmentLostError(NvmelabError):
    """An environment cannot be used; ``is_final``: another try would end the same way."""

    def __init__(self, message: str, *, is_final: bool = False, log: Optional[str] = None) -> None:
        super().__init__(message, log=log)
        self.is_final = is_final


@dataclass(frozen=True)
class Settings:
    """What all environments of a run share."""

    directory: RunDirectory
    capabilities: Mapping[str, Any]
    accelerator: str
    agent_source: str
    say: Callable[[str], None]  # names the phase for whoever looks on
    remark: Callable[[str], None] = lambda _: None  # keeps what is odd, but no failure


class Environment(ABC):
    """One environment of the plan; down when made."""

    def __init__(self, name: str, spec: Mapping[str, Any], settings: Settings) -> None:
        self.name = name
        self.spec = spec
        self.settings = settings
        self._connection: Optional[AgentConnection] = None
        self._fio = "fio"  # as it is called where the points run
        self._programs: dict[str, str] = {}  # the other clients there

    @abstractmethod
    def start(self) -> None:
        """Bring it up, all of it or nothing."""

    @abstractmethod
    def check(self) -> None:
        """Raise an NvmelabError that names the cause when something has died."""

    @abstractmethod
    def target(self, point: Mapping[str, Any]) -> Target:
        """Return what the point is aimed at."""

    @abstractmethod
    def commands(self) -> dict[str, Any]:
        """Return the commands that it consists of, for the record."""

    @abstractmethod
    def agent_argv(self) -> list[str]:
        """Return the command that carries the conversation with its agent."""

    def stop(self) -> None:
        """Take it down; also after a start that failed half-way."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def parts(self, point: Mapping[str, Any]) -> list[Part]:
        """Return who drives the point, and at what: one part where it is not shared out."""
        return [Part(None, self.place(), self.target(point))]

    def place(self) -> Place:
        """Return where points run, with an agent that has said hello.

        Raises:
            EnvironmentLostError: there is no agent, or no fio for it to run.
        """
        if self._connection and not self._connection.is_open():
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = self._new_connection()
        return Place(self._connection, self._fio, self.check, self._programs)

    def _new_connection(self) -> AgentConnection:
        settings = self.settings
        settings.say(f"starting the agent of {self.name}")
        log_path = settings.directory.logs / f"{self.name}.agent.log"
        connection = AgentConnection(
            self.agent_argv(), source=settings.agent_source, log_path=log_path
        )
        try:
            self._await_hello(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _await_hello(self, connection: AgentConnection) -> None:
        hello = connection.event(deadline_s=HELLO_S, check=self.check)
        if "fio_error" in hello:
            raise EnvironmentLostError(
                f"{self.name}: {hello['fio_error']}; install fio there", is_final=True
            )
