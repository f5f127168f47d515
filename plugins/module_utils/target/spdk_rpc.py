# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON-RPC 2.0 over a unix socket, as SPDK's applications speak it.

SPDK's own client bounds each read by CPU time, not the call; here a call has one deadline.
Source: SPDK v25.05, doc/jsonrpc.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.target.unix_socket import peer_pid

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self  # Python 3.11; managed hosts may have less

_CHUNK_BYTES = 65536


class SpdkRpcError(NvmelabError):
    """No SPDK application answers, or it refused a call; ``code`` is its error code then."""

    def __init__(self, message: str, *, code: Optional[int] = None) -> None:
        super().__init__(message)
        self.code = code


class SpdkRpc:
    """One open connection; not for several threads."""

    def __init__(self, path: Union[str, os.PathLike[str]], *, deadline_s: float = 5) -> None:
        """Connect within ``deadline_s``; raise SpdkRpcError when nobody listens."""
        self.path = os.fspath(path)
        self._next_id = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(deadline_s)
        try:
            self._socket.connect(self.path)
        except OSError as error:
            self._socket.close()
            raise SpdkRpcError(f"{self.path}: no SPDK application listens: {error}") from error

    def call(
        self, method: str, params: Optional[dict[str, Any]] = None, *, deadline_s: float = 30
    ) -> Any:
        """Return the result of a method.

        Raises:
            SpdkRpcError: refused (with SPDK's code and text), or no answer within the deadline.
        """
        self._next_id += 1
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": self._next_id, "method": method}
        if params:
            request["params"] = params
        end = time.monotonic() + deadline_s
        try:
            self._socket.settimeout(deadline_s)
            self._socket.sendall(json.dumps(request).encode())
            answer = self._answer(end)
        except OSError as error:
            raise SpdkRpcError(
                f"{self.path}: {method}: no answer within {deadline_s:g} s ({error})"
            ) from error
        if "error" in answer:
            code, text = answer["error"].get("code"), answer["error"].get("message")
            raise SpdkRpcError(f"{method}: refused: {text} (code {code})", code=code)
        return answer.get("result")

    def peer_log(self) -> Optional[str]:
        """Return the file that the application writes its log to; None when it is no file."""
        pid = peer_pid(self._socket)
        with contextlib.suppress(OSError):
            path = Path("/proc", str(pid), "fd/2").resolve(strict=True)
            return str(path) if pid and path.is_file() else None
        return None

    def _answer(self, end: float) -> dict[str, Any]:
        """Read until one whole document with our id is there: no newline ends it."""
        text = b""
        while True:
            answer, text = _first_document(text)
            if answer is None:
                text += self._receive(end)
            elif answer.get("id") == self._next_id:
                return answer
            # Else it was the late answer to an earlier call.

    def _receive(self, end: float) -> bytes:
        self._socket.settimeout(max(0.001, end - time.monotonic()))
        data = self._socket.recv(_CHUNK_BYTES)
        if not data:
            raise ConnectionError("the application closed the connection")
        return data

    def close(self) -> None:
        """Leave the application; it goes on."""
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


def _first_document(text: bytes) -> tuple[Optional[dict[str, Any]], bytes]:
    """Return the first whole JSON object and what follows it; None while it is not whole."""
    try:
        decoded = text.decode().lstrip()
        answer, end = json.JSONDecoder().raw_decode(decoded)
    except ValueError:
        return None, text
    return (answer if isinstance(answer, dict) else {}), decoded[end:].encode()
