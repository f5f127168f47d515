# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and how to log in to a guest: OpenSSH's client with a key and a pinned host key."""

from __future__ import annotations

import contextlib
import select
import shlex
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import HOST_KEY_ALIAS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self  # Python 3.11; managed hosts may have less

_RETRY_S = 0.05
# A connection that says nothing gets company after this time, and is given up after that; or
# after these parts of the time waited so far, if that is longer. A guest on a busy machine that
# was connected to four times a second spent its time on starting sshd, and none ever spoke.
_COMPANY_S, _COMPANY_PART = 0.25, 1 / 16
_GIVE_UP_S, _GIVE_UP_PART = 5.0, 1 / 2
_LOGIN_TRY_S = 20.0
# What trying again cannot cure.
_PERMANENT = ("Permission denied", "Host key verification failed", "UNPROTECTED PRIVATE KEY")


class SshError(NvmelabError):
    """Nobody answers as an SSH server, or the login is refused."""


class BannerWatch:
    """Tells when an SSH server begins to answer on a port, by its ``SSH-`` banner.

    QEMU's user network takes a connection before the guest listens, so only bytes are evidence.
    One made too early hangs for seconds (its SYN was lost), one made in time may be slow on a
    busy machine: so a silent connection is kept and a fresh one opened beside it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._open: dict[socket.socket, float] = {}
        self._since = time.monotonic()

    def seen(self, wait_s: float) -> bool:
        """Return whether a banner has come, after waiting ``wait_s`` at most for one."""
        now = time.monotonic()
        waited_s = now - self._since
        give_up_s = max(_GIVE_UP_S, waited_s * _GIVE_UP_PART)
        for connection in [c for c, born in self._open.items() if now - born > give_up_s]:
            self._drop(connection)
        company_s = max(_COMPANY_S, waited_s * _COMPANY_PART)
        if all(now - born > company_s for born in self._open.values()):
            self._connect(now)
        ready = select.select(self._open, [], [], wait_s)[0]
        banners = [self._says_banner(connection) for connection in ready]
        if any(banners):
            return True
        # A connection that was refused returned at once: do not flood a booting guest.
        time.sleep(max(0.0, now + wait_s - time.monotonic()))
        return False

    def _connect(self, now: float) -> None:
        with contextlib.suppress(OSError):
            self._open[socket.create_connection(self._address, timeout=1)] = now

    def _says_banner(self, connection: socket.socket) -> bool:
        """Return whether a connection that became readable did so by a banner."""
        said = b""
        with contextlib.suppress(OSError):
            said = connection.recv(4)
        self._drop(connection)
        return said == b"SSH-"

    def _drop(self, connection: socket.socket) -> None:
        del self._open[connection]
        connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in list(self._open):
            self._drop(connection)


@dataclass(frozen=True)
class SshTarget:
    """One SSH server, its key, and the file that pins its host key as ``HOST_KEY_ALIAS``."""

    host: str
    port: int
    user: str
    key_path: str
    known_hosts_path: str

    def options(self) -> list[str]:
        """Return the client's options, without host, port and user.

        The user's and the machine's configuration are left out: a result must not depend on it.
        A plain elliptic curve is asked for, as the post-quantum one costs an emulated CPU 0.1 s.
        """
        settings = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.known_hosts_path,
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": HOST_KEY_ALIAS,
            "IdentitiesOnly": "yes",
            "IdentityFile": self.key_path,
            "PreferredAuthentications": "publickey",
            "KexAlgorithms": "curve25519-sha256",
            "ConnectTimeout": "20",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "8",
            "LogLevel": "ERROR",
        }
        return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]

    def argv(self, command: Union[str, Sequence[str]]) -> list[str]:
        """Return the argument list that runs ``command`` there.

        A text goes to the login shell as it is; a list arrives as that very list of arguments.
        """
        text = command if isinstance(command, str) else " ".join(map(shlex.quote, command))
        address = ["-p", str(self.port), f"{self.user}@{self.host}"]
        return ["ssh", "-F", "/dev/null", *self.options(), *address, text]

    def banner(self, deadline_s: float) -> None:
        """Wait for the server's banner.

        Raises:
            SshError: none came within the deadline.
        """
        end = time.monotonic() + deadline_s
        with BannerWatch(self.host, self.port) as watch:
            while not watch.seen(_RETRY_S):
                if time.monotonic() >= end:
                    raise SshError(
                        f"{self.host} port {self.port}: no SSH banner within {deadline_s:g} s"
                    )

    def login(self, deadline_s: float) -> None:
        """Log in once and leave, trying again until the deadline.

        Raises:
            SshError: refused for good (key or host key), or no login within the deadline.
        """
        end = time.monotonic() + deadline_s
        while True:
            said = self._try_login(min(_LOGIN_TRY_S, max(1.0, end - time.monotonic())))
            if said is None:
                return
            if any(text in said for text in _PERMANENT):
                raise SshError(
                    f"{self.user}@{self.host} port {self.port} refuses the key {self.key_path} "
                    f"or has another host key than {self.known_hosts_path} says: {said}"
                )
            if time.monotonic() >= end:
                raise SshError(
                    f"{self.user}@{self.host} port {self.port}: no login within "
                    f"{deadline_s:g} s; ssh said last: {said}"
                )
            time.sleep(_RETRY_S)

    def _try_login(self, timeout_s: float) -> Union[str, None]:
        """Return None for a login that worked, else what ssh said."""
        try:
            done = subprocess.run(
                self.argv("true"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"nothing for {timeout_s:g} s"
        except OSError as error:
            raise SshError(f"ssh cannot be run: {error}; install openssh-client") from error
        return None if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"
