# SPDX-License-Identifier: GPL-3.0-or-later
"""The NVMe controller of the tests, driven over its socket as QEMU and a guest's driver do it."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import nvme_controller as nvme
import pytest
import vfio_user_nvme
import vfio_user_server as vfio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MEMORY = 1 << 20
GUEST_BASE = 0x10000000  # where the guest sees its memory
ADMIN_SQ, ADMIN_CQ, IO_SQ, IO_CQ, DATA, LIST = (page << 12 for page in (1, 2, 3, 4, 8, 64))
ENTRIES = 4


@dataclass
class Guest:
    """A client with 1 MiB of memory and a driver that waits for each command."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    memory: mmap.mmap
    message_id: int = 0
    tails: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})

    def call(self, command: int, body: bytes = b"", fds: tuple[int, ...] = ()) -> tuple[int, bytes]:
        """Return (errno, answer) of a message."""
        self.message_id += 1
        head = vfio.HEADER.pack(self.message_id, command, vfio.HEADER.size + len(body), 0, 0)
        socket.send_fds(self.connection, [head + body], list(fds))
        answer = self._receive(vfio.HEADER.size)
        number, _, size, flags, problem = vfio.HEADER.unpack(answer)
        assert number == self.message_id
        assert bool(flags & vfio.IS_ERROR) == bool(problem)
        return problem, self._receive(size - vfio.HEADER.size)

    def _receive(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self.connection.recv(count - len(found))
            if not more:
                raise EOFError
            found += more
        return found

    def read(self, region: int, offset: int, count: int) -> int:
        """Return a little-endian number of a region."""
        _, answer = self.call(vfio.READ, vfio.REGION_IO.pack(offset, region, count))
        return int.from_bytes(answer[vfio.REGION_IO.size :], "little")

    def write(self, region: int, offset: int, value: int, count: int = 4) -> None:
        """Write a little-endian number to a region."""
        data = value.to_bytes(count, "little")
        self.call(vfio.WRITE, vfio.REGION_IO.pack(offset, region, count) + data)

    def enable(self) -> None:
        """Set up the admin queues and start the controller."""
        self.write(0, nvme.AQA, ENTRIES - 1 | (ENTRIES - 1) << 16)
        self.write(0, nvme.ASQ, GUEST_BASE + ADMIN_SQ, 8)
        self.write(0, nvme.ACQ, GUEST_BASE + ADMIN_CQ, 8)
        self.write(0, nvme.CC, 1)

    def create_io_queues(self) -> None:
        """Create one queue pair whose completions interrupt by vector 1."""
        size = (ENTRIES - 1) << 16 | 1
        assert self.submit(0, 0x05, dwords=(size, 1 << 16 | 3), prp1=GUEST_BASE + IO_CQ) == 0
        assert self.submit(0, 0x01, dwords=(size, 1 << 16 | 1), prp1=GUEST_BASE + IO_SQ) == 0

    def submit(
        self, queue: int, opcode: int, *, dwords: tuple[int, ...] = (), prp1: int = 0, prp2: int = 0
    ) -> int | None:
        """Return the status of a command, None when there was no completion."""
        six = (*dwords, *[0] * (6 - len(dwords)))
        tail = self.tails[queue]
        command = nvme.COMMAND.pack(opcode, 0, tail, 1, prp1, prp2, *six)
        ring, completions = (ADMIN_SQ, ADMIN_CQ) if queue == 0 else (IO_SQ, IO_CQ)
        self.memory[ring + 64 * (tail % ENTRIES) : ring + 64 * (tail % ENTRIES) + 64] = command
        self.tails[queue] = tail + 1
        self.write(0, nvme.DOORBELLS + 8 * queue, (tail + 1) % ENTRIES)
        entry = completions + 16 * (tail % ENTRIES)
        *_, command_id, status = nvme.COMPLETION.unpack(self.memory[entry : entry + 16])
        is_new = status & 1 == (tail // ENTRIES + 1) % 2
        return status >> 1 if is_new and command_id == tail else None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    """Start controllers, and end them."""
    guests: list[Guest] = []

    def start_one(*words: str) -> Guest:
        path = tmp_path / "nvme.sock"
        process = subprocess.Popen([sys.executable, vfio_user_nvme.__file__, str(path), *words])
        connection = _connected(path)
        memory_fd = os.memfd_create("guest")
        os.ftruncate(memory_fd, MEMORY)
        guest = Guest(process, connection, mmap.mmap(memory_fd, MEMORY))
        guests.append(guest)
        guest.call(vfio.VERSION, struct.pack("<HH", 0, 1) + b'{"capabilities": {}}\0')
        mapped = vfio.DMA_MAP.pack(vfio.DMA_MAP.size, 3, 0, GUEST_BASE, MEMORY)
        guest.call(vfio.MAP, mapped, (memory_fd,))
        os.close(memory_fd)
        return guest

    yield start_one
    for guest in guests:
        guest.connection.close()
        guest.process.kill()
        guest.process.wait()


def _connected(path: Path) -> socket.socket:
    deadline = time.monotonic() + 20
    connection = socket.socket(socket.AF_UNIX)
    while True:
        try:
            connection.connect(str(path))
        except OSError:
            assert time.monotonic() < deadline, "the controller does not listen"
            time.sleep(0.02)
        else:
            return connection


def test_driver_finds_an_nvme_controller(start: Callable[..., Guest]) -> None:
    """Class code, BARs, MSI-X and identify data are what the kernel's driver looks for."""
    guest = start("2")
    assert guest.read(vfio.CONFIG_REGION, 9, 3) == 0x010802
    capability = guest.read(vfio.CONFIG_REGION, 0x34, 1)
    assert guest.read(vfio.CONFIG_REGION, capability, 1) == 0x11
    guest.enable()
    assert guest.read(0, nvme.CSTS, 4) == nvme.READY
    assert guest.submit(0, 0x06, dwords=(0,), prp1=GUEST_BASE + DATA) == nvme.SUCCESS
    blocks = struct.unpack_from("<Q", guest.memory, DATA)[0]
    assert blocks * 512 == 2 << 20


@pytest.mark.parametrize("pages", [1, 2, 3, 32])
def test_data_comes_back_as_written(start: Callable[..., Guest], pages: int) -> None:
    """What is written through one, two or a list of PRP entries is read back, scattered or not."""
    guest = start("2")
    guest.enable()
    guest.create_io_queues()
    data = os.urandom(pages * nvme.PAGE)
    guest.memory[DATA : DATA + len(data)] = data
    addresses = [GUEST_BASE + DATA + page * nvme.PAGE for page in range(pages)]
    rest = struct.pack(f"<{pages - 1}Q", *addresses[1:])
    guest.memory[LIST : LIST + len(rest)] = rest
    prp2 = addresses[1] if pages == 2 else GUEST_BASE + LIST
    blocks = len(data) // 512 - 1
    for opcode in (nvme.WRITE_OPCODE, nvme.READ_OPCODE):
        status = guest.submit(1, opcode, dwords=(8, 0, blocks), prp1=addresses[0], prp2=prp2)
        assert status == nvme.SUCCESS
        if opcode == nvme.WRITE_OPCODE:
            guest.memory[DATA : DATA + len(data)] = bytes(len(data))
    assert guest.memory[DATA : DATA + len(data)] == data


def test_completion_interrupts_by_its_vector(start: Callable[..., Guest]) -> None:
    """The eventfd of the completion queue's vector counts each completion."""
    guest = start("1")
    eventfds = [os.eventfd(0) for _ in range(2)]
    flags = vfio.IRQ_TRIGGER | vfio.IRQ_DATA_EVENTFD
    guest.call(vfio.IRQS, vfio.SET_IRQS.pack(20, flags, vfio.MSIX_IRQ, 0, 2), tuple(eventfds))
    guest.enable()
    guest.create_io_queues()
    for _ in range(3):
        guest.submit(1, nvme.FLUSH_OPCODE)
    assert os.eventfd_read(eventfds[1]) == 3
    for each in eventfds:
        os.close(each)


@pytest.mark.parametrize(
    ("opcode", "dwords", "status"),
    [
        (nvme.READ_OPCODE, (2048, 0, 0), nvme.LBA_OUT_OF_RANGE),
        (0x7F, (), nvme.INVALID_OPCODE),
    ],
)
def test_bad_commands_get_their_status(
    start: Callable[..., Guest], opcode: int, dwords: tuple[int, ...], status: int
) -> None:
    """Beyond the end, and of an unknown kind: the status of the specification."""
    guest = start("1")
    guest.enable()
    guest.create_io_queues()
    assert guest.submit(1, opcode, dwords=dwords, prp1=GUEST_BASE + DATA) == status


def test_errors_begin_when_asked_for(start: Callable[..., Guest]) -> None:
    """The I/O after the given number fails, those before do not."""
    guest = start("1", "error", "1")
    guest.enable()
    guest.create_io_queues()
    read = {"dwords": (0, 0, 0), "prp1": GUEST_BASE + DATA}
    assert guest.submit(1, nvme.READ_OPCODE, **read) == nvme.SUCCESS
    assert guest.submit(1, nvme.READ_OPCODE, **read) == nvme.UNRECOVERED_READ_ERROR


def test_silence_leaves_admin_commands_answered(start: Callable[..., Guest]) -> None:
    """A read is never answered, identify still is."""
    guest = start("1", "silence", "0")
    guest.enable()
    guest.create_io_queues()
    read = {"dwords": (0, 0, 0), "prp1": GUEST_BASE + DATA}
    assert guest.submit(1, nvme.READ_OPCODE, **read) is None
    assert guest.submit(0, 0x06, dwords=(1,), prp1=GUEST_BASE + DATA) == nvme.SUCCESS


def test_death_comes_in_mid_io(start: Callable[..., Guest]) -> None:
    """The process is killed by the read that it does not survive."""
    guest = start("1", "die", "0")
    guest.enable()
    guest.create_io_queues()
    with pytest.raises((EOFError, ConnectionError)):
        guest.submit(1, nvme.READ_OPCODE, dwords=(0, 0, 0), prp1=GUEST_BASE + DATA)
    assert guest.process.wait(timeout=20) == -signal.SIGKILL


def test_unknown_message_is_answered_with_an_error(start: Callable[..., Guest]) -> None:
    """A client that asks for what this does not know is told so, and can go on."""
    guest = start("1")
    assert guest.call(14)[0] != 0
    assert guest.call(vfio.RESET) == (0, b"")


def test_memory_that_was_taken_away_is_not_touched(start: Callable[..., Guest]) -> None:
    """After an unmap a doorbell that needs the memory is refused, and the process lives."""
    guest = start("1")
    guest.enable()
    guest.call(vfio.UNMAP, vfio.DMA_UNMAP.pack(vfio.DMA_UNMAP.size, 0, GUEST_BASE, MEMORY))
    ring = vfio.REGION_IO.pack(nvme.DOORBELLS, 0, 4) + (1).to_bytes(4, "little")
    assert guest.call(vfio.WRITE, ring)[0] != 0
    assert guest.process.poll() is None
