# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves one PCI device to one client over the vfio-user protocol; as little of it as QEMU needs.

Single-threaded: a message is answered before the next one is read. Guest memory is reached
through the file descriptors that the client sends; what comes without one cannot be reached.

Source: the vfio-user protocol specification 0.9.2 (libvfio-user docs/vfio-user.rst).
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import mmap
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = struct.Struct("<HHIII")  # message id, command, size with header, flags, errno
REGION_INFO = struct.Struct("<IIIIQQ")  # argsz, flags, index, cap_offset, size, offset
REGION_IO = struct.Struct("<QII")  # offset, region, count
DMA_MAP = struct.Struct("<IIQQQ")  # argsz, flags, offset in the file, address, size
DMA_UNMAP = struct.Struct("<IIQQ")  # argsz, flags, address, size
SET_IRQS = struct.Struct("<IIIII")  # argsz, flags, index, start, count
WRITE_MULTI = struct.Struct("<QII8s")  # offset, region, count, up to 8 bytes

(VERSION, MAP, UNMAP, INFO, REGION, REGION_FDS, IRQ, IRQS, READ, WRITE, _, _, RESET) = range(1, 14)
MULTI = 15

IS_REPLY, WANTS_NO_REPLY, IS_ERROR = 1, 0x10, 0x20
CONFIG_REGION, REGION_COUNT = 7, 9  # BAR0-5, ROM, configuration, VGA
MSIX_IRQ, IRQ_COUNT = 2, 5
IRQ_TRIGGER, IRQ_DATA_EVENTFD = 1 << 5, 1 << 2
MOST_FDS = 16  # as many as QEMU takes
CAPABILITIES = {"capabilities": {"max_msg_fds": MOST_FDS, "max_data_xfer_size": 1 << 20,
                                 "max_dma_maps": 65535, "pgsizes": 4096}}  # fmt: skip


class Device(Protocol):
    """What is served."""

    region_sizes: dict[int, int]  # by region; what is not there has none
    vector_count: int

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Return ``count`` bytes of a region."""

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Take a write to a region."""

    def reset(self) -> None:
        """Be as after power-on."""


class ProtocolError(Exception):
    """The client asked for something that this does not know; it gets the errno."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


@dataclass
class GuestMemory:
    """The client's memory as far as it has given it to us, by its address."""

    _maps: dict[int, mmap.mmap] = field(default_factory=dict)

    def add(self, address: int, size: int, fd: int, offset: int) -> None:
        """Map ``size`` bytes of the file at ``address``."""
        self._maps[address] = mmap.mmap(fd, size, offset=offset)

    def remove(self, address: int) -> None:
        """Forget what begins at ``address``."""
        gone = self._maps.pop(address, None)
        if gone is not None:
            gone.close()

    def clear(self) -> None:
        """Forget everything: the client is gone."""
        for address in list(self._maps):
            self.remove(address)

    def _place(self, address: int, count: int) -> tuple[mmap.mmap, int]:
        for start, area in self._maps.items():
            if start <= address and address + count <= start + len(area):
                return area, address - start
        raise ProtocolError(errno.EFAULT)

    def read(self, address: int, count: int) -> bytes:
        """Return the guest's bytes."""
        area, at = self._place(address, count)
        return area[at : at + count]

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into the guest's memory."""
        area, at = self._place(address, len(data))
        area[at : at + len(data)] = data


@dataclass
class Interrupts:
    """The eventfds of the device's MSI-X vectors."""

    _fds: dict[int, int] = field(default_factory=dict)

    def replace(self, start: int, count: int, fds: list[int]) -> None:
        """Take the descriptors of ``count`` vectors; none: those vectors are switched off."""
        for vector in range(start, start + count) if count else list(self._fds):
            if vector in self._fds:
                os.close(self._fds.pop(vector))
        self._fds.update(zip(range(start, start + count), fds, strict=False))

    def fire(self, vector: int) -> None:
        """Interrupt the guest, if it listens to this vector."""
        if vector in self._fds:
            os.eventfd_write(self._fds[vector], 1)


@dataclass
class Server:
    """One device behind one unix socket; ``memory`` and ``interrupts`` are for the device."""

    memory: GuestMemory = field(default_factory=GuestMemory)
    interrupts: Interrupts = field(default_factory=Interrupts)

    def serve(self, path: Path, device: Device) -> None:
        """Serve one client after the other, until the process is ended."""
        self.serve_at(listen(path), device)

    def serve_at(self, listener: socket.socket, device: Device) -> None:
        """Serve the clients of a socket that listens already."""
        with listener:
            while True:
                client, _ = listener.accept()
                with client, contextlib.suppress(ConnectionError, EOFError):
                    self._serve_client(client, device)
                device.reset()
                self.memory.clear()
                self.interrupts.replace(0, 0, [])

    def _serve_client(self, client: socket.socket, device: Device) -> None:
        for number, command, flags, body, fds in _messages(client):
            try:
                answer, problem = self._answer(device, command, body, fds), 0
            except ProtocolError as error:
                answer, problem = b"", error.number
            if not flags & WANTS_NO_REPLY:
                kind = IS_REPLY | (IS_ERROR if problem else 0)
                size = HEADER.size + len(answer)
                client.sendall(HEADER.pack(number, command, size, kind, problem) + answer)

    def _answer(self, device: Device, command: int, body: bytes, fds: list[int]) -> bytes:
        if command == VERSION:
            return body[:4] + json.dumps(CAPABILITIES).encode() + b"\0"
        if command == INFO:
            return struct.pack("<IIII", 16, 0b11, REGION_COUNT, IRQ_COUNT)  # resettable PCI
        if command == RESET:
            device.reset()
            return b""
        handlers = {MAP: self._map, UNMAP: self._unmap, IRQS: self._set_irqs}
        if command in handlers:
            return handlers[command](body, fds)
        described = {REGION: _region, IRQ: _irq, READ: _read, WRITE: _write, MULTI: _write_multi}
        if command in described:
            return described[command](device, body)
        raise ProtocolError(errno.EOPNOTSUPP)

    def _map(self, body: bytes, fds: list[int]) -> bytes:
        _, _, offset, address, size = DMA_MAP.unpack_from(body)
        for fd in fds:
            self.memory.add(address, size, fd, offset)
            os.close(fd)
        return b""

    def _unmap(self, body: bytes, _fds: list[int]) -> bytes:
        _, _, address, _ = DMA_UNMAP.unpack_from(body)
        self.memory.remove(address)
        return body[: DMA_UNMAP.size]

    def _set_irqs(self, body: bytes, fds: list[int]) -> bytes:
        _, flags, index, start, count = SET_IRQS.unpack_from(body)
        if index == MSIX_IRQ and flags & IRQ_TRIGGER:
            self.interrupts.replace(start, count, fds if flags & IRQ_DATA_EVENTFD else [])
        return b""


def listen(path: Path) -> socket.socket:
    """Return a socket at ``path`` that clients can connect to from now on."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    return listener


def _region(device: Device, body: bytes) -> bytes:
    index = REGION_INFO.unpack_from(body)[2]
    size = device.region_sizes.get(index, 0)
    return REGION_INFO.pack(REGION_INFO.size, 0b11 if size else 0, index, 0, size, 0)


def _irq(device: Device, body: bytes) -> bytes:
    index = struct.unpack_from("<IIII", body)[2]
    count = device.vector_count if index == MSIX_IRQ else 0
    return struct.pack("<IIII", 16, 0b1001 if count else 0, index, count)  # eventfd, no resize


def _read(device: Device, body: bytes) -> bytes:
    offset, region, count = REGION_IO.unpack_from(body)
    return body[: REGION_IO.size] + device.read(region, offset, count)


def _write(device: Device, body: bytes) -> bytes:
    offset, region, count = REGION_IO.unpack_from(body)
    device.write(region, offset, body[REGION_IO.size : REGION_IO.size + count])
    return body[: REGION_IO.size]


def _write_multi(device: Device, body: bytes) -> bytes:
    count = struct.unpack_from("<Q", body)[0]
    for number in range(count):
        offset, region, size, data = WRITE_MULTI.unpack_from(body, 8 + number * WRITE_MULTI.size)
        device.write(region, offset, data[:size])
    return body[:8]


def _messages(client: socket.socket) -> Iterator[tuple[int, int, int, bytes, list[int]]]:
    """Yield (id, command, flags, body, file descriptors) until the client is gone."""
    while True:
        fds = array.array("i")
        data, ancillary, _, _ = client.recvmsg(
            HEADER.size, socket.CMSG_SPACE(MOST_FDS * fds.itemsize)
        )
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[: len(content) // fds.itemsize * fds.itemsize])
        header = data + _exactly(client, HEADER.size - len(data)) if data else b""
        if not header:
            return
        number, command, size, flags, _ = HEADER.unpack(header)
        yield number, command, flags, _exactly(client, size - HEADER.size), list(fds)


def _exactly(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = client.recv(count - len(found))
        if not more:
            raise EOFError
        found += more
    return found
