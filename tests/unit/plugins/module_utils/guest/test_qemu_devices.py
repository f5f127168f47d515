# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of a device under test: in its slot, with the user's properties as written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_fakes import device, qemu_capabilities

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_devices import (
    QEMU_DEVICES,
    SOCKET_MODELS,
    device_arguments,
    node_name,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

NULL = Backend("null-co", 1 << 20)
NULL_BLOCKDEV = "driver=null-co,node-name=node-disk,size=1048576,read-zeroes=on"
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True)


def _arguments(given_device: dict[str, Any], **qemu: Any) -> list[str]:
    served = given_device["model"] in SOCKET_MODELS
    return device_arguments(
        given_device,
        {**qemu_capabilities(), **qemu},
        backend=None if served else NULL,
        socket="/run/x.sock" if served else None,
    )


@pytest.mark.parametrize(
    ("given_device", "arguments"),
    [
        (
            device(properties={"ioeventfd": "on", "mdts": 5}),
            [
                *("-blockdev", NULL_BLOCKDEV),
                "-device",
                "nvme,id=disk,bus=pcie.0,addr=0x10,drive=node-disk,serial=disk,ioeventfd=on,mdts=5",
            ],
        ),
        (
            device(model="virtio-blk", slot=30, iothreads=1, properties={"packed": True}),
            [
                *("-object", "iothread,id=disk-io0"),
                *("-blockdev", NULL_BLOCKDEV),
                "-device",
                (
                    "virtio-blk-pci,id=disk,bus=pcie.0,addr=0x1e,drive=node-disk,werror=report,"
                    "rerror=report,iothread=disk-io0,packed=on"
                ),
            ],
        ),
        (
            device(model="virtio-scsi"),
            [
                *("-blockdev", NULL_BLOCKDEV),
                *("-device", "virtio-scsi-pci,id=disk,bus=pcie.0,addr=0x10"),
                "-device",
                "scsi-hd,drive=node-disk,bus=disk.0,werror=report,rerror=report",
            ],
        ),
        (
            device(model="vhost-user-blk", properties={"num-queues": 2}),
            [
                *("-chardev", "socket,id=disk-chr,path=/run/x.sock"),
                "-device",
                "vhost-user-blk-pci,id=disk,bus=pcie.0,addr=0x10,chardev=disk-chr,num-queues=2",
            ],
        ),
    ],
)
def test_golden_arguments(given_device: dict[str, Any], arguments: list[str]) -> None:
    """Every model's arguments, word for word."""
    assert _arguments(given_device) == arguments


def test_vfio_user_is_told_its_socket_in_json() -> None:
    """A property that is no text makes the whole device JSON, with real bools and numbers."""
    given_device = device(
        model="vfio-user-pci", properties={"x-no-posted-writes": "on", "x-msg-timeout": "5000"}
    )
    flag, text = _arguments(given_device)
    assert flag == "-device"
    assert json.loads(text) == {
        "driver": "vfio-user-pci",
        "id": "disk",
        "bus": "pcie.0",
        "addr": "0x10",
        "socket": {"type": "unix", "path": "/run/x.sock"},
        "x-no-posted-writes": True,
        "x-msg-timeout": 5000,
    }


def test_several_iothreads_share_the_queues() -> None:
    """Two IOThreads are two objects and one mapping; types of QEMU's OnOffAuto stay texts."""
    properties = {"write-cache": "on", "event_idx": "off"}
    words = _arguments(device(model="virtio-blk", iothreads=2, properties=properties))
    assert words[:4] == ["-object", "iothread,id=disk-io0", "-object", "iothread,id=disk-io1"]
    whole = json.loads(words[-1])
    assert whole["iothread-vq-mapping"] == [{"iothread": "disk-io0"}, {"iothread": "disk-io1"}]
    assert (whole["write-cache"], whole["event_idx"]) == ("on", False)


def test_the_users_property_wins() -> None:
    """What is added for safety never overrides what was asked for."""
    words = _arguments(device(model="virtio-blk", properties={"werror": "stop"}))
    assert "werror=stop,rerror=report" in words[-1]


def test_a_comma_in_a_value_is_doubled() -> None:
    """A property's text arrives as it was written."""
    assert "serial=a,,b" in _arguments(device(properties={"serial": "a,b"}))[-1]


@given(NAMES, st.sampled_from(sorted(QEMU_DEVICES)), st.integers(5, 30))
def test_a_device_is_always_in_its_slot(name: str, model: str, slot: int) -> None:
    """Whatever the name and model: one device on bus 0 with the plan's slot, a well-formed id."""
    words = _arguments(device(name, slot, model))
    placed = [w for w in words if f"0x{slot:02x}" in w and "pcie.0" in w]
    assert len(placed) == 1
    identity = (
        json.loads(placed[0])["id"]
        if placed[0].startswith("{")
        else placed[0].split("id=")[1].split(",")[0]
    )
    assert identity[0].isalpha()


@given(st.lists(st.tuples(NAMES, st.integers(5, 30)), min_size=2, unique_by=lambda pair: pair[1]))
def test_block_nodes_never_share_a_name(pairs: list[tuple[str, int]]) -> None:
    """Long names are cut to what QEMU takes and stay distinct."""
    unique = dict(pairs)
    nodes = [node_name(device(name, slot)) for name, slot in unique.items()]
    assert len(set(nodes)) == len(nodes)
    assert all(len(node) <= 31 for node in nodes)


@pytest.mark.parametrize(
    ("given_device", "qemu", "said"),
    [
        (device(model="floppy"), {}, "device disk: model 'floppy': wanted one of nvme"),
        (device(model="vfio-user-pci"), {"devices": {}}, r"QEMU 99\.1\.0 .* has no device vfio-us"),
        (device(slot=4), {}, "PCI slot 4: wanted 5 to 30"),
        (device(slot=31), {}, "PCI slot 31: wanted 5 to 30"),
        (
            device(properties={"dbcs": "on"}),
            {"devices": {"nvme": ["drive", "serial"]}},
            "has no property dbcs on nvme",
        ),
        (
            device(iothreads=1),
            {"devices": {"nvme": ["drive", "serial"]}},
            "has no property iothread on nvme",
        ),
        (
            device(model="virtio-blk", iothreads=2),
            {"devices": {"virtio-blk-pci": ["drive", "iothread", "werror", "rerror"]}},
            "has no property iothread-vq-mapping on virtio-blk-pci",
        ),
        (device(model="vhost-user-blk", iothreads=1), {}, "the target serves vhost-user-blk"),
    ],
)
def test_what_this_qemu_cannot_have_is_refused(
    given_device: dict[str, Any], qemu: dict[str, Any], said: str
) -> None:
    """Model, property and slot are checked before QEMU starts, by what it said it has."""
    with pytest.raises(BadInputError, match=said):
        _arguments(given_device, **qemu)


@pytest.mark.parametrize(
    ("model", "backend", "socket"),
    [("nvme", None, None), ("nvme", NULL, "/s"), ("vfio-user-pci", NULL, None)],
)
def test_a_device_is_served_by_exactly_one(
    model: str, backend: Backend | None, socket: str | None
) -> None:
    """QEMU serves from a backend, a target over a socket: never both, never neither."""
    with pytest.raises(BadInputError, match="is served by"):
        device_arguments(device(model=model), qemu_capabilities(), backend=backend, socket=socket)
