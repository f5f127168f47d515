# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a running SPDK application to what is asked of it, once.

SPDK answers one code for four causes, so each step's causes are looked for before it; what is
refused all the same is told with the end of the application's own log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    nvme_device,
    spdk_live,
    unix_socket,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_objects import (
    Change,
    Item,
    SpdkConfigError,
    change,
    is_bdev_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import (
    SpdkRpc,
    SpdkRpcError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_live import Call

_LOG_LINES = 4


@dataclass(frozen=True)
class Outcome:
    """What was found and what came of it."""

    before: Sequence[Item]
    change: Change

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, changed."""
        return bool(self.change.remove or self.change.add)

    def lines(self) -> tuple[list[str], list[str]]:
        """Return one line an item, before and after."""
        kept = [item for item in self.before if item not in self.change.remove]
        return (
            sorted(str(item) for item in self.before),
            sorted(str(item) for item in [*kept, *self.change.add]),
        )


def converge(
    rpc: SpdkRpc,
    asked: Sequence[Item],
    *,
    own_directory: Optional[Path],
    exclusive: bool = False,
    check_mode: bool = False,
    system: Path = Path("/"),
) -> Outcome:
    """Have the application serve what is asked, changing only what differs.

    Args:
        rpc: an open connection to it.
        asked: what is asked for (:func:`spdk_objects.asked_items`).
        own_directory: below it a listener's folder is made and a stale socket removed; elsewhere
            both are refused. None: nowhere.
        exclusive: whether what is not asked for goes, and what differs is made anew.
        check_mode: look only.
        system: the host's root directory.

    Raises:
        SpdkConfigError: the real cause, with what to do.
    """
    found = spdk_live.read(rpc)
    wanted = change(asked, found, exclusive=exclusive)
    spdk_live.require_methods(rpc, [spdk_live.add_call(item) for item in wanted.add])
    present = list(found)
    for item in wanted.remove:
        if not check_mode:
            _call(rpc, f"{item} cannot be taken away", spdk_live.remove_call(item))
        present.remove(item)
    guard = _Guard(rpc, own_directory, system, check_mode=check_mode)
    for item in wanted.add:
        guard.require(item, present)
        if not check_mode:
            _call(rpc, f"{item} cannot be made", spdk_live.add_call(item))
        present.append(item)
    return Outcome(found, wanted)


def _call(rpc: SpdkRpc, what: str, call: Call) -> None:
    try:
        spdk_live.apply(rpc, call)
    except SpdkRpcError as error:
        log = rpc.peer_log()
        said = processes.log_end(log, _LOG_LINES) if log else ""
        more = f"; its log ends: {said}" if said else ""
        if error.code is None and "remove_listener" in call[0]:
            more = "; a client is attached: end the guest that uses it"
        raise SpdkConfigError(f"{what}: {error}{more}", log=log) from error


@dataclass(frozen=True)
class _Guard:
    """Looks for the causes that SPDK would hide behind one code."""

    rpc: SpdkRpc
    own_directory: Optional[Path]
    system: Path
    check_mode: bool

    def require(self, item: Item, present: Sequence[Item]) -> None:
        if item.kind == "controller":
            _require_controller(item, present, self.system)
        elif item.kind == "namespace":
            self._require_free_bdev(item, item.key[1], present)
            _require_subsystem(item, present)
        elif item.kind == "vhost":
            self._require_free_bdev(item, item.attributes["bdev"], present)
        elif item.kind == "listener":
            _require_subsystem(item, present)
            self._require_place(item, present)

    def _require_free_bdev(self, item: Item, bdev: str, present: Sequence[Item]) -> None:
        for other in present:
            used = other.key[1] if other.kind == "namespace" else other.attributes.get("bdev")
            if other.kind in {"namespace", "vhost"} and used == bdev:
                raise SpdkConfigError(
                    f"{item}: bdev {bdev} is already claimed by {other}; a bdev serves one of them"
                )
        if any(self._is_known_bdev(bdev, other) for other in present):
            return
        names = spdk_live.bdev_names(self.rpc)
        if bdev not in names:
            raise SpdkConfigError(f"{item}: no bdev {bdev}; there are {', '.join(names) or 'none'}")

    def _is_known_bdev(self, bdev: str, item: Item) -> bool:
        """Whether it will be there: a controller's namespaces are seen once it is attached."""
        return is_bdev_of(bdev, item) and (item.kind == "bdev" or self.check_mode)

    def _require_place(self, item: Item, present: Sequence[Item]) -> None:
        """A listener wants a folder that is there and has no ``cntrl`` in it."""
        folder = Path(item.key[1])
        for other in present:
            if other.kind == "listener" and other.key[1] == item.key[1]:
                raise SpdkConfigError(f"{item}: {folder} is already the place of {other}")
        is_own = self.own_directory is not None and self.own_directory in folder.parents
        if not folder.is_dir():
            if not is_own:
                raise SpdkConfigError(f"{item}: no directory {folder}; make it first")
            if not self.check_mode:
                folder.mkdir(mode=0o700, parents=True)
        unix_socket.require_usable(
            folder / "cntrl", removable=is_own, check_mode=self.check_mode, wanted_by=str(item)
        )


def _require_controller(item: Item, present: Sequence[Item], system: Path) -> None:
    """A real device is had once, and only when nobody else uses it."""
    address = item.attributes["traddr"]
    for other in present:
        if other.kind == "controller" and other.attributes["traddr"] == address:
            raise SpdkConfigError(f"{item}: {address} is already {other}; a device is had once")
    if item.attributes["trtype"] == "PCIe":
        nvme_device.require_bound(address, system)


def _require_subsystem(item: Item, present: Sequence[Item]) -> None:
    subsystems = [other.key[0] for other in present if other.kind == "subsystem"]
    if item.key[0] not in subsystems:
        raise SpdkConfigError(
            f"{item}: no subsystem {item.key[0]}; there are {', '.join(subsystems) or 'none'}"
        )
