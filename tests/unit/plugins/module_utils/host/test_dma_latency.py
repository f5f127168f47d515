# SPDX-License-Identifier: GPL-3.0-or-later
"""Holding /dev/cpu_dma_latency: what is written, when it is let go, and where there is none."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.host import dma_latency
from ansible_collections.nvmelab.bench.plugins.module_utils.host.dma_latency import hold


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A file that stands for the device."""
    path = tmp_path / dma_latency.DEVICE
    path.parent.mkdir()
    path.write_bytes(struct.pack("=i", dma_latency.UNBOUNDED_US))
    return path


def descriptors(path: Path) -> list[str]:
    """Return the open files of this process that are this one."""
    links = Path("/proc/self/fd").iterdir()
    return [link.name for link in links if link.exists() and link.resolve() == path.resolve()]


def test_it_is_held_until_the_end_of_the_block(tmp_path: Path, device: Path) -> None:
    """Four bytes in the machine's order, and the file stays open."""
    with hold(3, tmp_path) as reason:
        assert reason is None
        assert dma_latency.in_force(device) == "3"
        assert len(descriptors(device)) == 1
    assert descriptors(device) == []


def test_an_error_lets_it_go(tmp_path: Path, device: Path) -> None:
    """A run that fails holds nothing any more."""

    def fail() -> None:
        with hold(3, tmp_path):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert descriptors(device) == []


def test_nothing_asked_opens_nothing(tmp_path: Path, device: Path) -> None:
    """None is not zero: zero would keep all CPUs polling."""
    with hold(None, tmp_path) as reason:
        assert reason == "nothing was asked"
        assert descriptors(device) == []
    assert dma_latency.in_force(device) == str(dma_latency.UNBOUNDED_US)


def test_a_container_has_no_device(tmp_path: Path) -> None:
    """The run goes on; the reason is for the audit."""
    with hold(0, tmp_path) as reason:
        assert reason == f"{tmp_path}/dev/cpu_dma_latency: No such file or directory"
    assert dma_latency.in_force(tmp_path / dma_latency.DEVICE) is None


def test_a_refused_write_is_told(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device opens and does not take the number: held is not claimed."""

    def refuse(handle: int, data: bytes) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "write", refuse)
    with hold(5, tmp_path) as reason:
        assert reason == f"{device}: 5 µs was refused: Invalid argument"
    assert descriptors(device) == []
