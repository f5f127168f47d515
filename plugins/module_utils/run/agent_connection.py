# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab host's end of the conversation with a guest agent."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import select
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_agent

if TYPE_CHECKING:
    from pathlib import Path

# Reads its own length and itself from stdin, which stays open for the requests. Read by os.read:
# a buffered reader would swallow what comes after the source.
BOOTSTRAP = (
    "import os\n"
    "def take(n):\n"
    " b=b''\n"
    " while len(b)<n:\n"
    "  c=os.read(0,n-len(b))\n"
    "  if not c:raise SystemExit('nvmelab: the agent was cut short')\n"
    "  b+=c\n"
    " return b\n"
    "exec(compile(take(int(take(10))),'guest_agent.py','exec'))"
)
CLOSE_S = 8.0


class AgentError(NvmelabError):
    """The agent could not be started, or its connection ended."""


class AgentConnection:
    """A running agent.

    Closing it closes its stdin, upon which it stops fio and ends.
    """

    def __init__(self, argv: Sequence[str], *, source: str, log_path: Path) -> None:
        self._log_path = log_path
        self._received: list[bytes] = []
        self._lines: list[bytes] = []
        try:
            with log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    start_new_session=True,
                )
        except OSError as error:
            raise AgentError(f"{argv[0]} cannot be run: {error}", log=str(log_path)) from error
        code = source.encode()
        try:
            self._send(b"%010d" % len(code) + code)
        except AgentError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process that carries the conversation."""
        return self._process.pid

    def is_open(self) -> bool:
        """Whether the agent can still be asked."""
        return self._process.poll() is None

    def request(self, request: Mapping[str, Any]) -> None:
        """Ask for one point."""
        self._send(json.dumps(request).encode() + b"\n")

    def event(
        self, *, deadline_s: float, check: Optional[Callable[[], None]] = None
    ) -> dict[str, Any]:
        """Return the next event.

        Args:
            deadline_s: how long to wait for it.
            check: called about every second meanwhile; raises when waiting makes no sense.

        Raises:
            AgentError: the connection ended, the deadline passed, or what came is no event.
        """
        deadline = time.monotonic() + deadline_s
        while not self._lines:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AgentError(
                    f"no word from the agent for {deadline_s:.0f} s", log=str(self._log_path)
                )
            if self._readable(min(left, 1.0)):
                self._receive()
            elif check:
                check()
        return self._decode(self._lines.pop(0))

    def close(self) -> None:
        """End the agent: by its stdin, then by signals."""
        process = self._process
        assert process.stdin  # noqa: S101  (a pipe, see above)
        assert process.stdout  # noqa: S101
        with contextlib.suppress(OSError):
            process.stdin.close()
        for end in (None, process.terminate, process.kill):
            if end:
                end()
            try:
                process.wait(CLOSE_S)
                break
            except subprocess.TimeoutExpired:
                continue
        process.stdout.close()

    def _readable(self, seconds: float) -> bool:
        assert self._process.stdout  # noqa: S101
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def _receive(self) -> None:
        assert self._process.stdout  # noqa: S101
        block = os.read(self._process.stdout.fileno(), 1 << 20)
        if not block:
            raise self._ended()
        self._received.append(block)
        if b"\n" in block:
            *lines, rest = b"".join(self._received).split(b"\n")
            self._lines += lines
            self._received = [rest]

    def _send(self, data: bytes) -> None:
        assert self._process.stdin  # noqa: S101
        view = memoryview(data)
        try:
            while view:
                view = view[self._process.stdin.write(view) or 0 :]
        except BrokenPipeError as error:
            raise self._ended() from error

    def _ended(self) -> AgentError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return AgentError(
            f"the connection to the agent ended (exit {self._process.poll()})",
            log=str(self._log_path),
        )

    def _decode(self, line: bytes) -> dict[str, Any]:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or "event" not in event:
            raise AgentError(
                f"found {line[:200]!r} where an event of the agent was wanted",
                log=str(self._log_path),
            )
        return event


def local_argv(fio: str, mark: str) -> list[str]:
    """Return the command of an agent on this host."""
    return [sys.executable or "python3", "-I", "-S", "-c", BOOTSTRAP, fio, mark]


def remote_command(fio: str, mark: str) -> str:
    """Return the same as one line for the shell of a guest."""
    return shlex.join(["exec", "python3", "-I", "-S", "-c", BOOTSTRAP, fio, mark])


def agent_source() -> str:
    """Return the agent's source text, also from within the archive Ansible sends modules in.

    To be called before that archive is gone, that is: before the executor is detached.
    """
    return inspect.getsource(guest_agent)
