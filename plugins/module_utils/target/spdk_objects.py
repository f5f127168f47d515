# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an SPDK application serves, as flat objects: asked for, found, and the way between; pure.

An object that is asked for with fewer attributes than it has is as asked. Nothing that SPDK has
is changed in place: what differs is taken away and made anew, if that is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import full_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# In the order in which they are made; they are taken away in the other.
KINDS = ("transport", "bdev", "controller", "subsystem", "namespace", "listener", "vhost")
MIB = 1 << 20
BLOCK_BYTES = 512
_NQN = re.compile(r"nqn\.\d{4}-\d{2}\.[^:\s]+:\S+")
_NQN_BYTES = 223

Key = tuple[str, ...]


class SpdkConfigError(NvmelabError):
    """An SPDK application cannot be brought to what is asked of it."""


@dataclass(frozen=True)
class Item:
    """One thing that an application has."""

    kind: str  # one of KINDS
    key: Key  # what names it among its kind; of a namespace and a listener the NQN comes first
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> tuple[str, Key]:
        """What is equal when the same thing is meant."""
        return self.kind, self.key

    def __str__(self) -> str:
        said = [f"{name} {value}" for name, value in sorted(self.attributes.items())]
        return f"{self.kind} {' '.join(self.key)}" + (f" ({', '.join(said)})" if said else "")

    def differs(self, found: Item) -> list[str]:
        """Return what is not as asked in ``found``, in words.

        What SPDK does not tell of a transport, such as all that is VFIOUSER's own, is taken for
        what was asked for: nothing could be done about it either.
        """
        told = found.attributes if self.kind == "transport" else self.attributes
        return [
            f"{name} is {found.attributes.get(name)}, asked for {value}"
            for name, value in sorted(self.attributes.items())
            if name in told and found.attributes.get(name) != value
        ]

    def needs(self, other: Item) -> bool:
        """Whether it goes when ``other`` goes."""
        if other.kind == "subsystem":
            return self.kind in {"namespace", "listener"} and self.key[0] == other.key[0]
        bdev = self.key[1] if self.kind == "namespace" else self.attributes.get("bdev")
        return self.kind in {"namespace", "vhost"} and is_bdev_of(str(bdev), other)


def is_bdev_of(bdev: str, item: Item) -> bool:
    """Whether a bdev of this name is ``item``, or a namespace of the NVMe controller ``item``."""
    if item.kind == "controller":
        return re.fullmatch(rf"{re.escape(item.key[0])}n\d+", bdev) is not None
    return item.kind == "bdev" and item.key[0] == bdev


@dataclass(frozen=True)
class Change:
    """What has to be taken away, in this order, and then made, in this order."""

    remove: Sequence[Item]
    add: Sequence[Item]


def change(asked: Sequence[Item], found: Sequence[Item], *, exclusive: bool) -> Change:
    """Return what leads from ``found`` to ``asked``.

    With ``exclusive`` what is not asked for goes, and what differs is made anew.

    Raises:
        SpdkConfigError: something differs that may not, or cannot, be taken away.
    """
    wanted = {item.id: item for item in asked}
    gone = [item for item in found if _must_go(item, wanted.get(item.id), exclusive=exclusive)]
    size = -1
    while size != len(gone):  # until nothing more hangs on what goes
        size = len(gone)
        gone += [one for one in found if one not in gone and any(one.needs(g) for g in gone)]
    left = {item.id for item in found if item not in gone}
    remove = sorted(gone, key=lambda item: (-KINDS.index(item.kind), item.key))
    add = sorted(
        (item for item in asked if item.id not in left), key=lambda item: KINDS.index(item.kind)
    )
    return Change(remove, add)


def _must_go(item: Item, wanted: Optional[Item], *, exclusive: bool) -> bool:
    if wanted is None:
        return exclusive and item.kind != "transport"  # SPDK cannot take a transport away
    differing = wanted.differs(item)
    if differing and item.kind == "transport":
        raise SpdkConfigError(
            f"{item.kind} {' '.join(item.key)}: {'; '.join(differing)}; SPDK changes no transport: "
            "start the application anew"
        )
    if differing and not exclusive:
        raise SpdkConfigError(
            f"{item.kind} {' '.join(item.key)}: {'; '.join(differing)}; exclusive: true takes it "
            "away and makes it anew"
        )
    return bool(differing)


def asked_items(config: Mapping[str, Any]) -> list[Item]:
    """Return what a configuration asks for (the options of the module ``spdk_config``).

    Raises:
        BadInputError: a name is used twice, an NQN or an address is none, or a size lacks.
    """
    items = [_transport(given) for given in config.get("transports") or []]
    items += [_bdev(given) for given in config.get("bdevs") or []]
    for given in config.get("subsystems") or []:
        items += _subsystem(given)
    for given in config.get("vhost_controllers") or []:
        items.append(Item("vhost", (given["name"],), _given(given, "bdev", "cpumask")))
    seen = set()
    for item in items:
        if item.id in seen:
            raise BadInputError(f"{item.kind} {' '.join(item.key)}: asked for twice")
        seen.add(item.id)
    return items


def _given(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if given.get(name) is not None}


def _transport(given: Mapping[str, Any]) -> Item:
    return Item("transport", (given["trtype"].upper(),), dict(given.get("options") or {}))


def _bdev(given: Mapping[str, Any]) -> Item:
    name, kind = given["name"], given["kind"]
    if kind == "nvme":
        if not given.get("bdf"):
            raise BadInputError(f"bdev {name}: kind nvme wants bdf, such as 0000:3b:00.0")
        return Item("controller", (name,), {"trtype": "PCIe", "traddr": full_address(given["bdf"])})
    if kind not in {"malloc", "null"}:
        raise BadInputError(f"bdev {name}: kind {kind!r}: wanted one of malloc, null, nvme")
    if not given.get("size_mib") or given["size_mib"] < 1:
        raise BadInputError(f"bdev {name}: size_mib {given.get('size_mib')!r}: wanted 1 or more")
    block_bytes = given.get("block_bytes") or BLOCK_BYTES
    blocks = given["size_mib"] * MIB // block_bytes
    return Item("bdev", (name,), {"kind": kind, "blocks": blocks, "block_bytes": block_bytes})


def _subsystem(given: Mapping[str, Any]) -> list[Item]:
    nqn = given["nqn"]
    if not _NQN.fullmatch(nqn) or len(nqn) > _NQN_BYTES:
        raise BadInputError(
            f"subsystem {nqn!r}: wanted an NQN such as nqn.2019-07.io.spdk:disk, at most "
            f"{_NQN_BYTES} characters"
        )
    known = ("serial_number", "model_number", "max_namespaces", "allow_any_host")
    namespaces, folders = given.get("namespaces") or [], given.get("listeners") or []
    return [
        Item("subsystem", (nqn,), _given(given, *known)),
        *(Item("namespace", (nqn, one["bdev"]), _given(one, "nsid")) for one in namespaces),
        *(Item("listener", (nqn, folder.rstrip("/") or "/")) for folder in folders),
    ]
