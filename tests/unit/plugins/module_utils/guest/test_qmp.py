# SPDX-License-Identifier: GPL-3.0-or-later
"""A QMP session answers, or fails in time with what was awaited."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from lab_fakes import qmp_session, unix_server

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import (
    Qmp,
    QmpError,
    check_socket_path,
)


def _status(command: dict[str, Any]) -> list[dict[str, Any]]:
    if command["execute"] == "query-status":
        return [{"event": "RESUME"}, {"return": {"status": "running"}}]
    return [{"error": {"class": "CommandNotFound", "desc": "The command has not been found"}}]


def test_a_command_returns_and_events_on_the_way_are_kept(tmp_path: Path) -> None:
    """An event before an answer is not the answer, and is not lost."""
    path = tmp_path / "s"
    with unix_server(path, qmp_session(_status)), Qmp(path) as qmp:
        assert qmp.execute("query-status") == {"status": "running"}
        assert [event["event"] for event in qmp.events] == ["RESUME"]


def test_a_refused_command_names_itself_and_the_reason(tmp_path: Path) -> None:
    """The error carries the server's text; the session goes on."""
    path = tmp_path / "s"
    with unix_server(path, qmp_session(_status)), Qmp(path) as qmp:
        with pytest.raises(QmpError, match="nosuch: The command has not been found"):
            qmp.execute("nosuch")
        assert qmp.execute("query-status") == {"status": "running"}


def test_events_are_read_without_a_command(tmp_path: Path) -> None:
    """poll_events gives what has arrived and does not wait for more."""
    path = tmp_path / "s"

    def answer(_: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"return": {}}, {"event": "LATER"}]

    with unix_server(path, qmp_session(answer)), Qmp(path) as qmp:
        qmp.execute("anything")
        end = time.monotonic() + 10
        while not qmp.poll_events() and time.monotonic() < end:
            time.sleep(0.01)
        assert [event["event"] for event in qmp.poll_events()] == ["LATER"]


def test_a_late_answer_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    """After a command that timed out, its answer does not answer another."""
    path = tmp_path / "s"
    given_up = threading.Event()

    def serve(client: socket.socket) -> None:
        client.sendall(b'{"QMP": {}}\n')
        for line in client.makefile("rb"):
            command = json.loads(line)
            if command["execute"] == "slow":
                given_up.wait()
            answer = {"return": command["execute"], "id": command["id"]}
            client.sendall(json.dumps(answer).encode() + b"\n")

    with unix_server(path, serve), Qmp(path) as qmp:
        with pytest.raises(QmpError, match="waited in vain for the answer to slow"):
            qmp.execute("slow", deadline_s=0.05)
        given_up.set()
        assert qmp.execute("fast") == "fast"


@pytest.mark.parametrize(
    ("first", "said"), [({"hello": 1}, "not a QMP server"), ([1], "not QMP"), (7, "not QMP")]
)
def test_another_server_is_recognised(tmp_path: Path, first: object, said: str) -> None:
    """Something that speaks JSON and is no QMP server is refused."""
    path = tmp_path / "s"
    with unix_server(path, qmp_session(_status, first)), pytest.raises(QmpError, match=said):
        Qmp(path)


def test_a_second_client_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A socket that takes a connection and never greets is an error that says what to think of."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(QmpError, match="does another client hold the socket"):
            Qmp(path, deadline_s=0.05)


def test_nobody_there_is_named(tmp_path: Path) -> None:
    """No socket, or one whose server is gone, is an error with the path."""
    with pytest.raises(QmpError, match="none: no QMP server"):
        Qmp(tmp_path / "none")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "stale"))
    with pytest.raises(QmpError, match="Connection refused"):
        Qmp(tmp_path / "stale")


def test_a_server_that_leaves_is_named(tmp_path: Path) -> None:
    """A session that is closed under a command says which one."""
    path = tmp_path / "s"

    def answer(command: dict[str, Any]) -> list[dict[str, Any]]:
        raise OSError(command)

    with (
        unix_server(path, qmp_session(answer)),
        Qmp(path) as qmp,
        pytest.raises(QmpError, match="closed the session; awaited was the answer to quit"),
    ):
        qmp.execute("quit")


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """The kernel takes 107 bytes; the message says how many there are."""
    assert check_socket_path("/" + "x" * 106) == "/" + "x" * 106
    with pytest.raises(QmpError, match="this one has 108"):
        check_socket_path("/" + "x" * 107)
