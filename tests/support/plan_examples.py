# SPDX-License-Identifier: GPL-3.0-or-later
"""Experiments and capabilities that the tests of the plan share."""

from __future__ import annotations

import copy
import textwrap
from pathlib import Path
from typing import Any

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout import lay_out
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout_text import (
    layout_dict,
    pinning,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import needs
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import make_request
from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import read_topology
from nvmelab.experiment.document import Experiment, parse_experiment

HEAD = """\
schema: 1
name: example
description: for a test
repetitions: 2
fio: {ioengine: libaio, runtime: 1, direct: 1}
"""
WORKLOADS = """\
workloads:
  - {name: randread-4k, rw: randread, bs: 4k, iodepth: [1, 16]}
"""
NVME = """\
  qemu-nvme:
    backend: {kind: null-co, size_mib: 64}
    server: qemu
    transport: emulated
    device: {model: nvme}
    driver: nvme
"""
VFIO_USER = """\
  spdk-vfio-user:
    backend: {kind: bdev_null, size_mib: 64}
    server: spdk-nvmf-tgt
    transport: vfio-user
    device: {model: vfio-user-pci}
    driver: nvme
"""
STORAGE_DAEMON = """\
  vhost-user-blk:
    backend: {kind: null-co, size_mib: 64}
    server: qemu-storage-daemon
    transport: vhost-user
    device: {model: vhost-user-blk}
    driver: virtio_blk
"""
HOST_RAM = """\
  host-ram-file:
    backend: {kind: ram, size_mib: 16}
    runs_on: host
    ceiling: true
"""
GUEST_NULL = """\
  guest-null:
    engine: {ioengine: "null", size: 1g}
    ceiling: true
"""

ENGINES = ["libaio", "io_uring", "null", "psync", "pvsync2"]
DEBIAN_12: dict[str, Any] = {
    "schema_version": 1,
    "cpu_count": 4,
    "memory_mib": 8192,
    "kernel": "6.1.0",
    "qemu": {
        "path": "/usr/bin/qemu-system-x86_64",
        "version": "7.2.22",
        "devices": {
            "nvme": ["ioeventfd", "mdts", "max_ioqpairs"],
            "virtio-blk-pci": ["iothread", "packed", "num-queues"],
            "virtio-scsi-pci": ["iothread", "num_queues"],
            "scsi-hd": ["lun"],
            "vhost-user-blk-pci": ["num-queues", "packed"],
        },
        "objects": ["iothread", "memory-backend-memfd"],
        "block_drivers": ["null-co", "file", "raw"],
    },
    "qemu_storage_daemon": {"path": "qsd", "version": "7.2.22", "exports": ["vhost-user-blk"]},
    "spdk": {"nvmf_tgt": None, "vhost": None, "version": None},
    "fio": {"path": "/usr/bin/fio", "version": "3.33", "engines": ENGINES},
    "guest_image": {"name": "bookworm", "fio_version": "3.33", "fio_engines": ENGINES},
    "accelerator": {"name": "tcg", "kvm_usable": False, "reason": "no /dev/kvm"},
}


def experiment(*stacks: str, head: str = HEAD, workloads: str = WORKLOADS) -> Experiment:
    """The experiment made of these pieces."""
    text = textwrap.dedent(head) + workloads + "stacks:\n" + "".join(stacks)
    return parse_experiment(text, source="example.yml")


def debian_12(**changes: Any) -> dict[str, Any]:
    """Capabilities of a Debian 12 host, with some of them changed."""
    return {**copy.deepcopy(DEBIAN_12), **changes}


def layout_for(plan: dict[str, Any], sysfs: str, **options: Any) -> dict[str, Any]:
    """What the module cpu_layout_info returns for a plan, on a host with SPDK."""
    found = lay_out(read_topology(Path(sysfs)), make_request(needs(plan["environments"], options)))
    made = {"layout": layout_dict(found), "picture": "", "kernel_args": []}
    return {**made, "pinning": pinning(found)}
