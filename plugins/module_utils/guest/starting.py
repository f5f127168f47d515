# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest between the start of its QEMU and its first login: several can be so at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.boot import Boot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import (
        AnyPath,
        RunningGuest,
    )

# A guest that came up while another was waited for has this long to answer when its turn comes.
_ANSWER_S = 10.0


@dataclass(frozen=True)
class StartingGuest:
    """A guest whose QEMU runs and that nobody has logged in to yet."""

    boot: Boot
    running: RunningGuest
    started: float  # by the monotonic clock
    deadline_s: float

    def wait(self) -> RunningGuest:
        """Return the guest once a login has worked; or nothing is left of it.

        Raises:
            GuestError: with what was awaited, how long, and where the logs are.
        """
        passed_s = time.monotonic() - self.started
        deadline_s = max(self.deadline_s, passed_s + _ANSWER_S)
        try:
            return self.boot.finish(self.running, self.started, deadline_s)
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raise the GuestError of a guest with which something is wrong."""
        self.boot.require_no_trouble(self.running)

    def stop(self) -> None:
        """End it and remove all that belonged to it, but its logs."""
        self.running.stop()


def launch_guest(
    spec: Mapping[str, Any],
    *,
    directory: AnyPath,
    image: Mapping[str, Any],
    qemu: Mapping[str, Any],
    accelerator: str,
    deadline_s: float = 120,
    sockets: Optional[Mapping[str, str]] = None,
) -> StartingGuest:
    """Return the guest of a plan as soon as its QEMU runs; ``wait`` for its login.

    Args:
        spec: the plan's guest: name, vcpus, memory_mib, cpus, iothread_cpus, devices.
        directory: the run directory; logs, sockets, records and backends go below it.
        image: capabilities' ``guest_image``.
        qemu: capabilities' ``qemu``.
        accelerator: ``tcg`` or ``kvm``.
        deadline_s: for the whole way from here to the first login.
        sockets: path of a storage target's socket by the export's name.

    Raises:
        BadInputError: the specification cannot be meant.
        GuestError: with what was awaited, how long, and where the logs are.
    """
    boot = Boot(spec, Path(directory), image, qemu, accelerator, dict(sockets or {}))
    running, started = boot.launch(deadline_s)
    return StartingGuest(boot, running, started, deadline_s)
