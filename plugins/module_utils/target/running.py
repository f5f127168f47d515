# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One storage target that runs: asked after, stopped, remembered, found again."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils import (
    processes,
    remembered,
    systemd_scope,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends, nvme_taking

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.processes import Process
    from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

AnyPath = Union[str, "os.PathLike[str]"]

# How SPDK marks what is no trouble.
_GOOD_NEWS = "*NOTICE*:"
_SILENT = "it said nothing of it"
# What a process does not end with when it is asked to, or made to.
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")


class TargetError(NvmelabError):
    """A storage target could not be started, or something is wrong with it."""


@dataclass(frozen=True)
class RunningTarget:
    """One storage target that serves all its exports."""

    process: Process
    directory: Path
    sockets: dict[str, str]  # by the export's name: what QEMU connects to
    spec: dict[str, Any]
    backends: dict[str, Backend] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()  # files, and empty folders, that outlive a killed target
    unit: Optional[str] = None  # of systemd, where it is one

    @property
    def name(self) -> str:
        """The target's name, as every message begins."""
        return str(self.spec["name"])

    @property
    def kind(self) -> str:
        """The program that serves: spdk-nvmf-tgt, qemu-storage-daemon and so on."""
        return str(self.spec["kind"])

    @property
    def argv(self) -> list[str]:
        """The target's whole argument list."""
        return list(self.process.argv)

    def check(self) -> None:
        """Return when the target runs and its sockets are there; not for one that was set aside.

        Raises:
            TargetError: how it ended, with the end of its log; that it is held; or the socket that
                is gone.
        """
        ended = processes.exit_reason(self.process)
        if ended:
            raise TargetError(
                f"{self.name}: {self.kind} {ended}: {self._last_words(3)}",
                log=self.process.log,
            )
        if processes.is_stopped(self.process):  # whoever waits for it would be blamed
            raise TargetError(
                f"{self.name}: {self.kind} (pid {self.process.pid}) is held by a signal such as "
                "SIGSTOP and answers nobody",
                log=self.process.log,
            )
        for export, path in self.sockets.items():
            if not Path(path).exists():
                raise TargetError(
                    f"{self.name}: {self.kind} runs, but the socket of {export} is gone: {path}",
                    log=self.process.log,
                )

    def stop(self) -> Optional[str]:
        """End the target and remove all that belonged to it, but its log.

        Returns what is worth a remark: that it crashed when it was asked to end, which SPDK does
        now and then (SIGSEGV in 3 of 14 stops), and what was measured before is as good as ever; or
        that a real device could not be given back.
        """
        was_alive = processes.is_alive(self.process)
        ended = processes.stop(self.process)
        crashed = was_alive and ended and any(signal in ended for signal in _CRASHES)
        remarks = [self._crash(ended) if crashed and ended else None, self._give_back()]
        for backend in self.backends.values():
            backends.remove(backend)
        for path in map(Path, (*self.sockets.values(), *self.leftovers)):
            if path.is_dir():
                with contextlib.suppress(OSError):  # what somebody has put there is his
                    path.rmdir()
            else:
                path.unlink(missing_ok=True)
        state_path(self.directory, self.name).unlink(missing_ok=True)
        return "; ".join(remark for remark in remarks if remark) or None

    def _give_back(self) -> Optional[str]:
        devices = nvme_taking.addresses_of(self.spec["exports"])
        left = nvme_taking.give_back_or_say(self.directory, devices)
        return f"{self.name}: {left}" if left else None

    def _crash(self, ended: str) -> str:
        return (
            f"{self.name}: {self.kind} {ended} when it was asked to end: "
            f"{self._last_words(2)} (log: {self.process.log})"
        )

    def _last_words(self, lines: int) -> str:
        """Return the end of the log in one line, without what SPDK tells of a good start."""
        told = processes.log_tail(self.process.log).splitlines()
        return " | ".join([line for line in told if _GOOD_NEWS not in line][-lines:]) or _SILENT

    def save(self) -> None:
        """Write down what :func:`load_target` needs to find this target again."""
        more = {"sockets": self.sockets, "leftovers": list(self.leftovers), "unit": self.unit}
        remembered.keep(
            state_path(self.directory, self.name),
            process=self.process,
            spec=self.spec,
            backends=self.backends,
            more=more,
        )

    def summary(self) -> dict[str, Any]:
        """Return what a play wants to know of a target, as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "pid": self.process.pid,
            "argv": self.argv,
            "sockets": dict(self.sockets),
            "log": self.process.log,
            "unit": self.unit,
        }


def unit_of(spec: Mapping[str, Any], directory: Path) -> Optional[str]:
    """Return the unit of systemd's that a target shall be; None for a mere process."""
    return systemd_scope.unit_for(directory.name, spec["name"]) if spec.get("unit", True) else None


def state_path(directory: AnyPath, name: str) -> Path:
    """Return the file that remembers a running target."""
    return Path(directory) / "targets" / f"{name}.json"


def load_target(directory: AnyPath, name: str) -> Optional[RunningTarget]:
    """Return the target that an earlier session started here; None when none is remembered.

    Raises:
        TargetError: what was remembered cannot be read.
    """

    def target(state: Mapping[str, Any], common: Mapping[str, Any]) -> RunningTarget:
        return RunningTarget(
            **common,
            sockets=state["sockets"],
            leftovers=tuple(state["leftovers"]),
            unit=state.get("unit"),
        )

    return remembered.recall(
        state_path(directory, name), target, failed=TargetError, called="the target"
    )


@contextlib.contextmanager
def stopped_on_error(target: RunningTarget) -> Iterator[RunningTarget]:
    """Stop a target when its set-up fails half way."""
    try:
        yield target
    except BaseException:
        target.stop()
        raise
