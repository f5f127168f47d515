# SPDX-License-Identifier: GPL-3.0-or-later
"""A minimal NVMe controller: one namespace in memory, identify, reads, writes, flush.

It does on demand what a good controller never does: answer with errors, never answer, die.

Source: NVM Express Base Specification 2.0 (registers §3.1, commands §5), NVM Command Set 1.0;
PCI capability layout of the PCI Local Bus Specification 3.0 §6.
"""

from __future__ import annotations

import os
import signal
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfio_user_server import CONFIG_REGION, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 4096
BLOCK_SHIFT = 9
VECTORS = 8
QUEUE_PAIRS = VECTORS - 1
MSIX_BAR, MSIX_CAPABILITY = 4, 0x40
# Registers of BAR0.
CAP, VS, CC, CSTS, AQA, ASQ, ACQ, DOORBELLS = 0x0, 0x8, 0x14, 0x1C, 0x24, 0x28, 0x30, 0x1000
# CAP: up to 256 entries, queues contiguous, ready within 10 s, NVM command set.
CAPABILITIES = 255 | 1 << 16 | 20 << 24 | 1 << 37
VERSION_1_4 = 0x00010400
READY, SHUTDOWN_DONE = 1, 2 << 2
# Status fields without the phase bit.
SUCCESS, INVALID_OPCODE, INVALID_FIELD, INVALID_NAMESPACE, LBA_OUT_OF_RANGE = 0, 1, 2, 0xB, 0x80
UNRECOVERED_READ_ERROR = 0x281
WRITE_OPCODE, READ_OPCODE, FLUSH_OPCODE = 1, 2, 0

COMMAND = struct.Struct("<BBHI8x8xQQ6I")  # opcode, flags, id, namespace, PRP1, PRP2, dwords 10-15
COMPLETION = struct.Struct("<IIHHHH")  # result, 0, SQ head, SQ id, command id, status and phase


@dataclass(frozen=True)
class Command:
    """One submission queue entry."""

    opcode: int
    id: int
    namespace: int
    prp1: int
    prp2: int
    dwords: tuple[int, ...]  # 10 to 15


@dataclass
class Queue:
    """A ring in the guest's memory."""

    address: int
    size: int
    index: int = 0  # SQ: next to fetch; CQ: next to fill
    phase: int = 1
    vector: int | None = None  # of a CQ that interrupts
    completions_to: int = 0  # of an SQ


@dataclass
class Fault:
    """What goes wrong at the ``after``-th read or write: ``die``, ``error`` or ``silence``."""

    kind: str = "none"
    after: int = 0
    seen: int = 0

    def strikes(self) -> bool:
        """Count one I/O; whether this and all later ones go wrong."""
        self.seen += 1
        return self.kind != "none" and self.seen > self.after


@dataclass
class NvmeController:
    """The PCI device that ``vfio_user_server`` serves."""

    server: Server
    size_bytes: int
    fault: Fault = field(default_factory=Fault)
    region_sizes: dict[int, int] = field(
        default_factory=lambda: {0: 0x2000, MSIX_BAR: 0x1000, CONFIG_REGION: 0x100}
    )
    vector_count: int = VECTORS
    serial: str = "NVMELAB"  # Linux refuses a second controller of one serial number

    def __post_init__(self) -> None:
        self._media = bytearray(self.size_bytes)
        self._msix = bytearray(self.region_sizes[MSIX_BAR])
        self.reset()

    def reset(self) -> None:
        """Forget queues and registers; the medium keeps its content."""
        self._config = _config_space()
        self._registers = bytearray(DOORBELLS)
        struct.pack_into("<Q", self._registers, CAP, CAPABILITIES)
        struct.pack_into("<I", self._registers, VS, VERSION_1_4)
        self._submission: dict[int, Queue] = {}
        self._completion: dict[int, Queue] = {}

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Return bytes of the configuration space, the registers or the MSI-X table."""
        content = bytes(self._area(region)[offset : offset + count])
        return content.ljust(count, b"\0")

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Take a write; to a doorbell: do the commands that are waiting."""
        if region == 0 and offset >= DOORBELLS:
            self._ring((offset - DOORBELLS) // 4, int.from_bytes(data, "little"))
            return
        area = self._area(region)
        if region == CONFIG_REGION and offset < 4:  # vendor and device are not for writing
            return
        area[offset : offset + len(data)] = data
        if region == 0 and offset <= CC < offset + len(data):
            self._configure()

    def _area(self, region: int) -> bytearray:
        areas = {0: self._registers, MSIX_BAR: self._msix, CONFIG_REGION: self._config}
        return areas.get(region, bytearray())

    def _configure(self) -> None:
        """Follow the bits enable and shutdown of CC."""
        (control,) = struct.unpack_from("<I", self._registers, CC)
        is_enabled, is_shutdown = control & 1, control >> 14 & 3
        status = (READY if is_enabled else 0) | (SHUTDOWN_DONE if is_shutdown else 0)
        struct.pack_into("<I", self._registers, CSTS, status)
        if not is_enabled:
            self._submission, self._completion = {}, {}
        elif 0 not in self._submission:
            sizes, submission, completion = struct.unpack_from("<I Q Q", self._registers, AQA)
            self._submission[0] = Queue(submission, (sizes & 0xFFF) + 1)
            self._completion[0] = Queue(completion, (sizes >> 16 & 0xFFF) + 1, vector=0)

    def _ring(self, number: int, value: int) -> None:
        """Take a doorbell: even ones are tails of submission queues, odd ones need no answer."""
        queue = self._submission.get(number // 2)
        if number % 2 or queue is None:
            return
        while queue.index != value:
            entry = self.server.memory.read(queue.address + 64 * queue.index, 64)
            queue.index = (queue.index + 1) % queue.size
            opcode, _, id_, namespace, prp1, prp2, *dwords = COMMAND.unpack(entry)
            command = Command(opcode, id_, namespace, prp1, prp2, tuple(dwords))
            answer = self._execute(command) if number else self._administer(command)
            if answer is not None:
                self._complete(number // 2, command.id, *answer)

    def _complete(self, queue_id: int, command_id: int, status: int, result: int = 0) -> None:
        submission = self._submission.get(queue_id)
        if submission is None or submission.completions_to not in self._completion:
            return
        queue = self._completion[submission.completions_to]
        entry = COMPLETION.pack(
            result, 0, submission.index, queue_id, command_id, status << 1 | queue.phase
        )
        self.server.memory.write(queue.address + 16 * queue.index, entry)
        queue.index = (queue.index + 1) % queue.size
        if queue.index == 0:
            queue.phase ^= 1
        if queue.vector is not None:
            self.server.interrupts.fire(queue.vector)

    def _administer(self, command: Command) -> tuple[int, int] | None:
        """Return (status, result) of an admin command; None: it is never answered."""
        handlers: dict[int, Callable[[Command], tuple[int, int] | None]] = {
            0x00: lambda c: self._forget(self._submission, c),
            0x01: self._create_submission,
            0x02: self._log_page,
            0x04: lambda c: self._forget(self._completion, c),
            0x05: self._create_completion,
            0x06: self._identify,
            0x08: lambda _: (SUCCESS, 1),  # abort: it was not
            0x09: self._feature,
            0x0A: self._feature,
            0x0C: lambda _: None,  # asynchronous events: there never is one
            0x18: lambda _: (SUCCESS, 0),  # keep alive
        }
        handler = handlers.get(command.opcode)
        return handler(command) if handler else (INVALID_OPCODE, 0)

    def _forget(self, queues: dict[int, Queue], command: Command) -> tuple[int, int]:
        found = queues.pop(command.dwords[0] & 0xFFFF, None)
        return (SUCCESS if found else INVALID_FIELD), 0

    def _create_completion(self, command: Command) -> tuple[int, int]:
        id_, size, flags, vector = *_halves(command.dwords[0]), *_halves(command.dwords[1])
        is_interrupting = flags & 2
        self._completion[id_] = Queue(
            command.prp1, size + 1, vector=vector if is_interrupting else None
        )
        return SUCCESS, 0

    def _create_submission(self, command: Command) -> tuple[int, int]:
        id_, size, _, completions_to = *_halves(command.dwords[0]), *_halves(command.dwords[1])
        self._submission[id_] = Queue(command.prp1, size + 1, completions_to=completions_to)
        return SUCCESS, 0

    def _feature(self, command: Command) -> tuple[int, int]:
        is_queue_count = command.dwords[0] & 0xFF == 0x07
        count = QUEUE_PAIRS - 1
        return SUCCESS, (count | count << 16 if is_queue_count else 0)

    def _log_page(self, command: Command) -> tuple[int, int]:
        count = ((command.dwords[0] >> 16) + 1) * 4
        self._to_guest(command, bytes(count))
        return SUCCESS, 0

    def _identify(self, command: Command) -> tuple[int, int]:
        pages = {
            0x00: self._namespace_page,
            0x01: lambda: _controller_page(self.serial),
            0x02: lambda: struct.pack("<I", 1),
            0x03: lambda: bytes([3, 16, 0, 0]) + self._uuid(),
        }
        page = pages.get(command.dwords[0] & 0xFF)
        if page is None:
            return INVALID_FIELD, 0
        self._to_guest(command, page().ljust(PAGE, b"\0"))
        return SUCCESS, 0

    def _uuid(self) -> bytes:
        return uuid.uuid5(uuid.NAMESPACE_OID, self.serial).bytes

    def _namespace_page(self) -> bytes:
        page = bytearray(PAGE)
        blocks = self.size_bytes >> BLOCK_SHIFT
        struct.pack_into("<QQQ", page, 0, blocks, blocks, blocks)
        struct.pack_into("<I", page, 128, BLOCK_SHIFT << 16)  # the one LBA format
        return bytes(page)

    def _execute(self, command: Command) -> tuple[int, int] | None:
        """Return (status, result) of an I/O command; None: it is never answered."""
        if command.namespace != 1:
            return INVALID_NAMESPACE, 0
        if command.opcode == FLUSH_OPCODE:
            return SUCCESS, 0
        if command.opcode not in {READ_OPCODE, WRITE_OPCODE}:
            return INVALID_OPCODE, 0
        if self.fault.strikes():
            return self._fail()
        start = (command.dwords[0] | command.dwords[1] << 32) << BLOCK_SHIFT
        count = ((command.dwords[2] & 0xFFFF) + 1) << BLOCK_SHIFT
        if start + count > self.size_bytes:
            return LBA_OUT_OF_RANGE, 0
        if command.opcode == READ_OPCODE:
            self._to_guest(command, bytes(self._media[start : start + count]))
        else:
            self._media[start : start + count] = self._from_guest(command, count)
        return SUCCESS, 0

    def _fail(self) -> tuple[int, int] | None:
        if self.fault.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return (UNRECOVERED_READ_ERROR, 0) if self.fault.kind == "error" else None

    def _to_guest(self, command: Command, data: bytes) -> None:
        for address, at, count in self._pieces(command, len(data)):
            self.server.memory.write(address, data[at : at + count])

    def _from_guest(self, command: Command, size: int) -> bytes:
        pieces = self._pieces(command, size)
        return b"".join(self.server.memory.read(address, count) for address, _, count in pieces)

    def _pieces(self, command: Command, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield (guest address, offset in the data, count) along the PRP entries."""
        first = min(size, PAGE - command.prp1 % PAGE)
        yield command.prp1, 0, first
        at = first
        for address in self._later_pages(command.prp2, size - first):
            count = min(PAGE, size - at)
            yield address, at, count
            at += count

    def _later_pages(self, prp2: int, size: int) -> Iterator[int]:
        left = -(-size // PAGE)
        if left <= 1:
            yield from [prp2][:left]
            return
        entry = prp2
        while left:
            (address,) = struct.unpack("<Q", self.server.memory.read(entry, 8))
            if left > 1 and entry % PAGE == PAGE - 8:  # the last of a list page leads to the next
                entry = address
                continue
            yield address
            entry, left = entry + 8, left - 1


def _halves(dword: int) -> tuple[int, int]:
    return dword & 0xFFFF, dword >> 16


def _controller_page(serial: str) -> bytes:
    page = bytearray(PAGE)
    struct.pack_into("<HH20s40s8s", page, 0, 0x1B36, 0x1B36, serial.encode().ljust(20)[:20],
                     b"nvmelab test controller".ljust(40), b"1".ljust(8))  # fmt: skip
    page[77] = 5  # MDTS: 128 KiB
    struct.pack_into("<I", page, 80, VERSION_1_4)
    page[111] = 1  # an I/O controller
    page[512], page[513] = 0x66, 0x44  # entry sizes: 64 and 16 bytes
    struct.pack_into("<I", page, 516, 1)  # namespaces
    return bytes(page)


def _config_space() -> bytearray:
    """Return a configuration space: an NVMe controller with 64-bit BAR0 and MSI-X in BAR4."""
    space = bytearray(0x100)
    struct.pack_into("<HHHH", space, 0, 0x1B36, 0x0010, 0x0006, 0x0010)  # with capability list
    space[8:12] = bytes([1, 0x02, 0x08, 0x01])  # revision; NVMe, non-volatile, mass storage
    struct.pack_into("<I", space, 0x10, 0x4)
    struct.pack_into("<I", space, 0x10 + 4 * MSIX_BAR, 0x0)
    struct.pack_into("<HH", space, 0x2C, 0x1B36, 0x0010)
    space[0x34] = MSIX_CAPABILITY
    pending = 0x800 | MSIX_BAR
    struct.pack_into("<BBHII", space, MSIX_CAPABILITY, 0x11, 0, VECTORS - 1, MSIX_BAR, pending)
    return space
