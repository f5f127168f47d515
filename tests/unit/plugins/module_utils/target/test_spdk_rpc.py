# SPDX-License-Identifier: GPL-3.0-or-later
"""SPDK's JSON-RPC: one deadline a call, answers in any pieces, errors with code and text."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_fakes import unix_server

from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import (
    SpdkRpc,
    SpdkRpcError,
)

Serve = Callable[[socket.socket], None]


def _replying(*replies: bytes) -> Serve:
    def serve(client: socket.socket) -> None:
        for reply in replies:
            if not client.recv(65536):
                return
            for at in range(0, len(reply), 5):
                client.sendall(reply[at : at + 5])

    return serve


def test_a_result_comes_in_pieces_and_without_a_newline(tmp_path: Path) -> None:
    """Nothing but the document itself tells its end; text outside ASCII survives."""
    reply = json.dumps({"id": 1, "result": ["é", 1]}, ensure_ascii=False).encode()
    with unix_server(tmp_path / "s", _replying(reply)), SpdkRpc(tmp_path / "s") as rpc:
        assert rpc.call("bdev_get_bdevs") == ["é", 1]


def test_the_late_answer_to_an_earlier_call_is_dropped(tmp_path: Path) -> None:
    """Answers are told apart by their id."""
    replies = [b"", b'{"id": 1, "result": "old"}{"id": 2, "result": "new"}']
    with unix_server(tmp_path / "s", _replying(*replies)), SpdkRpc(tmp_path / "s") as rpc:
        with pytest.raises(SpdkRpcError, match=r"slow: no answer within 0\.05 s"):
            rpc.call("slow", deadline_s=0.05)
        assert rpc.call("fast") == "new"


def test_a_refusal_carries_code_and_text(tmp_path: Path) -> None:
    """The error is SPDK's, with the method that was refused."""
    reply = b'{"id": 1, "error": {"code": -17, "message": "File exists"}}'
    with (
        unix_server(tmp_path / "s", _replying(reply)),
        SpdkRpc(tmp_path / "s") as rpc,
        pytest.raises(
            SpdkRpcError, match=r"bdev_null_create: refused: File exists \(code -17\)"
        ) as caught,
    ):
        rpc.call("bdev_null_create", {"name": "x"})
    assert caught.value.code == -17


def test_an_application_that_leaves_is_named(tmp_path: Path) -> None:
    """A connection that is closed under a call is an error of that call."""
    with (
        unix_server(tmp_path / "s", _replying()),
        SpdkRpc(tmp_path / "s") as rpc,
        pytest.raises(SpdkRpcError, match="get: no answer"),
    ):
        rpc.call("get")


def test_nobody_listens(tmp_path: Path) -> None:
    """No socket is an error with its path."""
    with pytest.raises(SpdkRpcError, match="none: no SPDK application listens"):
        SpdkRpc(tmp_path / "none")
