# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node of a device fio gets, what is set for its engine, and what xnvme's failures mean."""

from __future__ import annotations

import os

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.fio import device_node, xnvme_errors
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.device_node import (
    ADDRESS,
    BLOCK,
    CHARACTER,
)

XNVME = {"ioengine": "xnvme"}
NOT_BOUND = (
    f"xnvme cannot open 0000:01:00.0: {os.strerror(95)} (errno 95): its driver is the kernel's; it "
    "has to be bound to uio_pci_generic or vfio-pci"
)


@pytest.mark.parametrize(
    ("options", "driver", "node"),
    [
        (XNVME, "uio_pci_generic", ADDRESS),
        (XNVME, "vfio-pci", ADDRESS),
        (XNVME, "nvme", BLOCK),
        ({**XNVME, "xnvme_async": "io_uring"}, "nvme", BLOCK),
        ({**XNVME, "xnvme_async": "io_uring_cmd"}, "nvme", CHARACTER),
        ({"ioengine": "io_uring_cmd"}, "nvme", CHARACTER),
        ({"ioengine": "io_uring", "xnvme_async": "io_uring_cmd"}, "nvme", BLOCK),
        ({}, None, BLOCK),
    ],
)
def test_node(options: dict[str, str], driver: str | None, node: str) -> None:
    """A program's driver: the address; NVMe commands through the kernel: the character device."""
    assert device_node.node_of(options, driver) == node


def test_what_the_engines_cannot_do_without() -> None:
    """Engine xnvme has thread=1, with a device of its own also backend and nsid; others none."""
    assert device_node.completed({**XNVME, "direct": 1}, "nvme") == {
        **XNVME, "direct": 1, "thread": 1
    }  # fmt: skip
    own = {"thread": 1, "xnvme_be": "upcie", "xnvme_dev_nsid": 1}
    assert device_node.completed(XNVME, "uio_pci_generic") == {**XNVME, **own}
    spdk = {**XNVME, "xnvme_be": "spdk"}
    assert device_node.completed(spdk, "vfio-pci") == {**spdk, "thread": 1, "xnvme_dev_nsid": 1}
    assert device_node.completed({"ioengine": "io_uring_cmd", "direct": 1}, "nvme") == {
        "ioengine": "io_uring_cmd", "direct": 0
    }  # fmt: skip
    libaio = {"ioengine": "libaio", "direct": 1}
    assert device_node.completed(libaio, "nvme") == libaio


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "0000:01:00.0: failed retrieving device handle, errno: 95",
            NOT_BOUND,
        ),
        (
            "x\n0000:01:00.0: failed retrieving device handle, errno: 5\ny",
            "xnvme cannot open 0000:01:00.0: Input/output error (errno 5)",
        ),
        (
            "ioeng->_dev_open(0000:00:10.0): xnvme_dev_open(), err(22)\nfio: io engine xnvme init",
            "xnvme cannot open 0000:00:10.0: Invalid argument (errno 22)",
        ),
        ("ioeng->init(): --thread=1 is required", "the engine xnvme needs thread=1"),
        ("fio: io_u error on file /dev/nvme0n1", None),
        ("", None),
    ],
)
def test_what_xnvme_means(said: str, meant: str | None) -> None:
    """The errno in words and what to do; what is not of xnvme is left to others."""
    assert xnvme_errors.meaning(said) == meant
