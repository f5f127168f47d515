# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A QMP client for one connection: QEMU and qemu-storage-daemon speak it.

Source: QEMU, docs/interop/qmp-spec. A QMP socket serves one client: a second connect succeeds,
gets no greeting and would wait for ever, so every read here has a deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self  # Python 3.11; managed hosts may have less

_CHUNK_BYTES = 65536
# sizeof(sockaddr_un.sun_path) without the closing zero.
SOCKET_PATH_MAX_BYTES = 107


class QmpError(NvmelabError):
    """No QMP server, no answer in time, or a command that was refused."""


def check_socket_path(path: Union[str, os.PathLike[str]]) -> str:
    """Return a path that a unix socket can have.

    Raises:
        QmpError: it is longer than the kernel takes.
    """
    text = os.fspath(path)
    length = len(os.fsencode(text))
    if length > SOCKET_PATH_MAX_BYTES:
        raise QmpError(
            f"{text}: a socket's path may have {SOCKET_PATH_MAX_BYTES} bytes, this one has "
            f"{length}; choose a shorter nvmelab_root or experiment name"
        )
    return text


class Qmp:
    """One open QMP session. Threads may share it: one command runs at a time.

    ``events`` holds what the server told on its own, oldest first, since the start.
    """

    def __init__(self, path: Union[str, os.PathLike[str]], *, deadline_s: float = 5) -> None:
        """Connect and negotiate within ``deadline_s``; raise QmpError when that fails."""
        self.path = os.fspath(path)
        self.events: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._buffer = b""
        self._next_id = 0
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(deadline_s)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, deadline_s: float) -> None:
        end = time.monotonic() + deadline_s
        self._socket.settimeout(deadline_s)
        try:
            self._socket.connect(self.path)
        except OSError as error:
            raise QmpError(f"{self.path}: no QMP server: {error}") from error
        greeting = self._message(end, "the greeting (does another client hold the socket?)")
        if "QMP" not in greeting:
            raise QmpError(f"{self.path}: not a QMP server: it said {greeting!r}")
        self.execute("qmp_capabilities", deadline_s=deadline_s)

    def execute(
        self, command: str, arguments: Optional[dict[str, Any]] = None, *, deadline_s: float = 5
    ) -> Any:
        """Return what a command returns.

        Raises:
            QmpError: it was refused (the text is the server's), or there is no answer.
        """
        with self._lock:
            end = time.monotonic() + deadline_s
            self._next_id += 1
            request = {"execute": command, "arguments": arguments or {}, "id": self._next_id}
            self._send(request, end, command)
            return self._answer(command, end)

    def poll_events(self) -> list[dict[str, Any]]:
        """Return all events so far, after reading those that have arrived."""
        with self._lock, contextlib.suppress(QmpError):
            while True:
                self.events.append(self._message(time.monotonic(), "an event"))
        return self.events

    def close(self) -> None:
        """Leave the server; it goes on without a client."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _send(self, request: dict[str, Any], end: float, command: str) -> None:
        self._set_timeout(end)
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{self.path}: cannot send {command}: {error}") from error

    def _answer(self, command: str, end: float) -> Any:
        while True:
            message = self._message(end, f"the answer to {command}")
            if "event" in message:
                self.events.append(message)
            elif message.get("id") not in {self._next_id, None}:
                continue  # the late answer to a command whose caller gave up
            elif "error" in message:
                raise QmpError(f"{self.path}: {command}: {message['error'].get('desc', message)}")
            else:
                return message.get("return")

    def _message(self, end: float, awaited: str) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._buffer += self._receive(end, awaited)
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError as error:
            raise QmpError(f"{self.path}: not QMP: {line[:80]!r}") from error
        if not isinstance(message, dict):
            raise QmpError(f"{self.path}: not QMP: {line[:80]!r}")
        return message

    def _receive(self, end: float, awaited: str) -> bytes:
        self._set_timeout(end)
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except (BlockingIOError, socket.timeout) as error:  # noqa: UP041 differs before 3.10
            raise QmpError(f"{self.path}: waited in vain for {awaited}") from error
        except OSError as error:
            raise QmpError(f"{self.path}: while waiting for {awaited}: {error}") from error
        if not data:
            raise QmpError(f"{self.path}: the server closed the session; awaited was {awaited}")
        return data

    def _set_timeout(self, end: float) -> None:
        # 0 means "do not block", which is what a passed deadline wants.
        self._socket.settimeout(max(0.0, end - time.monotonic()))
