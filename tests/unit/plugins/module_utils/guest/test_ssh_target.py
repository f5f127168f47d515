# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching a guest: the banner is the evidence, the login the proof, a refusal is final."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_fakes import program

from ansible_collections.nvmelab.bench.plugins.module_utils.guest import ssh_target
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.ssh_target import (
    BannerWatch,
    SshError,
    SshTarget,
)


@contextmanager
def _server(*behaviours: bytes | None) -> Iterator[int]:
    """Serve connections in turn: say something, or (None) stay silent; the last one for all."""
    server = socket.create_server(("127.0.0.1", 0))
    held = []

    def accept() -> None:
        for number in range(1000):
            try:
                client, _ = server.accept()
            except OSError:
                return
            said = behaviours[min(number, len(behaviours) - 1)]
            if said is None:
                held.append(client)
            else:
                client.sendall(said)
                client.close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for client in held:
            client.close()


def _target(port: int, tmp_path: Path) -> SshTarget:
    return SshTarget("127.0.0.1", port, "root", str(tmp_path / "key"), str(tmp_path / "known"))


def test_a_banner_is_seen(tmp_path: Path) -> None:
    """A server that says SSH- is there."""
    with _server(b"SSH-2.0-x\r\n") as port:
        _target(port, tmp_path).banner(10)


def test_a_taken_connection_is_no_banner(tmp_path: Path) -> None:
    """A port that takes connections and says nothing, or hangs up, is not yet a server."""
    with _server(None, b"", b"HTTP/1.1") as port, pytest.raises(SshError, match="no SSH banner"):
        _target(port, tmp_path).banner(0.6)


def test_a_silent_connection_does_not_hold_up_the_next(tmp_path: Path) -> None:
    """A connection made too early hangs; one beside it sees the banner."""
    with _server(None, b"", b"SSH-2.0-x\r\n") as port:
        _target(port, tmp_path).banner(10)


def test_a_guest_that_is_slow_to_speak_is_not_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two silent minutes few connections are made, few are open at once, none is hurried."""
    clock, open_at_once = _Clock(), []
    made: list[_Silent] = []
    monkeypatch.setattr(ssh_target, "time", clock)

    def connect(*_: object, **__: object) -> _Silent:
        made.append(_Silent(clock))
        return made[-1]

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(ssh_target.select, "select", lambda *_: ([], [], []))
    with BannerWatch("guest", 22) as watch:
        while clock.now < 120:
            assert not watch.seen(0.05)
            open_at_once.append(sum(one.closed is None for one in made))
    assert 20 < len(made) < 120  # every quarter of a second would be 480
    assert max(open_at_once) <= 20
    late = [one for one in made if one.born > 60 and one.closed is not None and one.closed < 120]
    assert all(one.closed - one.born > 30 for one in late)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class _Silent:
    """A connection that never says anything."""

    def __init__(self, clock: _Clock) -> None:
        self._clock, self.born = clock, clock.now
        self.closed: float | None = None

    def close(self) -> None:
        self.closed = self._clock.now


def test_nobody_listening_is_no_error_of_its_own() -> None:
    """A refused connection only means: not yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with BannerWatch("127.0.0.1", port) as watch:
        assert not watch.seen(0.01)


def test_the_command_depends_on_no_configuration_and_pins_the_host_key(tmp_path: Path) -> None:
    """The client reads no file but the ones we name, asks nothing, and believes no new host key."""
    argv = _target(2022, tmp_path).argv(["echo", "a b"])
    assert argv[:3] == ["ssh", "-F", "/dev/null"]
    options = {argv[i + 1] for i, word in enumerate(argv) if word == "-o"}
    assert {
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "HostKeyAlias=nvmelab-guest",
        f"UserKnownHostsFile={tmp_path}/known",
        "GlobalKnownHostsFile=/dev/null",
        f"IdentityFile={tmp_path}/key",
        "IdentitiesOnly=yes",
    } <= options
    assert argv[-4:] == ["-p", "2022", "root@127.0.0.1", "echo 'a b'"]


def _fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    (tmp_path / "bin").mkdir()
    calls = tmp_path / "calls"
    program(tmp_path / "bin" / "ssh", f"open({str(calls)!r}, 'a').write('x')\n{text}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return calls


def test_a_refused_key_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What trying again cannot cure is tried once, and names the key."""
    calls = _fake_ssh(tmp_path, monkeypatch, "raise SystemExit('Permission denied (publickey)')")
    with pytest.raises(SshError, match=r"refuses the key .*key.*Permission denied"):
        _target(1, tmp_path).login(30)
    assert calls.read_text() == "x"


def test_a_login_is_tried_until_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that is still coming up refuses connections at first."""
    calls = tmp_path / "calls"
    text = f"raise SystemExit(len(open({str(calls)!r}).read()) < 3 and 'Connection reset')"
    _fake_ssh(tmp_path, monkeypatch, text)
    _target(1, tmp_path).login(30)
    assert calls.read_text() == "xxx"


def test_no_login_in_time_says_what_ssh_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a deadline carries the last words of ssh."""
    _fake_ssh(tmp_path, monkeypatch, "raise SystemExit('Connection reset by peer')")
    with pytest.raises(SshError, match=r"no login within 0 s; ssh said last: Connection reset"):
        _target(1, tmp_path).login(0)


def test_no_ssh_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an SSH client the message names the package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SshError, match="install openssh-client"):
        _target(1, tmp_path).login(5)
