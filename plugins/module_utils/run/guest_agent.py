# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs fio beside the device: in a guest over ssh, or on the lab host itself.

This file is sent whole to ``python3`` on the other side (agent_connection.py) and therefore
imports the standard library only, and little of it: under TCG each import costs. That is also
why it is one file, and why it has no pathlib.

Requests are JSON lines on stdin, events are JSON lines on stdout. One point at a time, so that
nothing but fio runs while fio measures. When stdin ends, whoever asked is gone: fio is stopped.
"""

# ruff: noqa: PTH102, PTH106, PTH108, PTH110, PTH112, PTH116, PTH119, PTH123, PTH208

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False  # without typing: that is an import, too
if TYPE_CHECKING:
    from typing import Any

STDERR_CHARACTERS = 16384
TERM_S = 5.0
KILL_S = 1.0
MARK = "NVMELAB_RUN"
DEVICE = "{device}"  # stands for the path in argv until the device is found


CHARACTER = "character"  # of a request's node: the device that NVMe commands go through
GATE = "NVMELAB_GATE"  # in fio's environment: the folder of its gate
# fio's exec_prerun, for jobs that are to begin at once; without a gate it does nothing.
AT_GATE = f'[ -z "${GATE}" ] || {{ echo >>"${GATE}/came" && read -r go <"${GATE}/go"; }} || :'
# After a complaint of fio's, a job that has not come for so long will not come.
GATE_GRACE_S = 10.0
GATE_LOOK_S = 0.05


def further_device(number: int) -> str:
    """Return what stands in argv for the path of a point's second device (0), third (1) and so on.

    No escape of fio's can change it.
    """
    return f"{{device{number + 2}}}"


class DeviceError(Exception):
    """The device is not there, not one, or in use."""


class AskerGoneError(Exception):
    """Nobody listens any more."""


class Agent:
    """One conversation: requests in, events out."""

    def __init__(self, requests: int, events: int) -> None:
        self._requests = requests
        self._events = events
        self._received = b""
        self._ended: float | None = None
        self._absent: dict[str, str] = {}

    def hello(self, fio: str) -> None:
        """Tell what is there; calling fio once also brings it into the page cache."""
        event: dict[str, Any] = {"event": "hello", "kernel": os.uname().release}
        try:
            done = subprocess.run([fio, "--version"], capture_output=True, timeout=60, check=False)
            event["fio_version"] = done.stdout.decode("utf-8", "replace").strip()
            if done.returncode != 0 or not event["fio_version"].startswith("fio-"):
                said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
                event["fio_error"] = f"{fio} --version ended with {done.returncode}: {said[-300:]}"
        except (OSError, subprocess.TimeoutExpired) as error:
            event["fio_error"] = f"{fio} cannot be run: {error}"
        self.tell(event)

    def serve(self) -> None:
        """Answer requests until stdin ends."""
        while True:
            request = self._next_request()
            if request is None:
                return
            try:
                self._run(request)
            except DeviceError as error:
                self.tell({"event": "refused", "id": request["id"], "cause": str(error)})

    def tell(self, event: dict[str, Any]) -> None:
        """Send one event; ASCII only, so that any bytes of fio survive any locale."""
        data = memoryview(json.dumps(event).encode("ascii") + b"\n")
        while data:
            data = data[os.write(self._events, data) :]

    def _next_request(self) -> dict[str, Any] | None:
        while b"\n" not in self._received:
            block = os.read(self._requests, 65536)
            if not block:
                return None
            self._received += block
        line, _, self._received = self._received.partition(b"\n")
        request = json.loads(line)
        return request if isinstance(request, dict) else None

    def _run(self, request: dict[str, Any]) -> None:
        argv = list(request["argv"])
        if request.get("pci_address"):
            device = self._device(request)
            argv = [word.replace(f"--filename={DEVICE}", f"--filename={device}") for word in argv]
        for number, more in enumerate(request.get("more") or ()):
            word, device = further_device(number), self._device({**request, **more})
            argv = [f"--filename={device}" if one == f"--filename={word}" else one for one in argv]
        begun = {"event": "started", "id": request["id"], "argv": argv}
        gate = Gate(int(request["gate"])) if request.get("gate") else None
        is_ready_later = bool(gate and request.get("hold"))
        if request.get("hold") and not is_ready_later:
            self._await_go(request["id"])
        if not is_ready_later:
            self.tell(begun)
        started, before = time.monotonic(), None if request["is_first"] else self._ended
        event = self._fio(argv, float(request["limit_s"]), gate, begun if is_ready_later else None)
        self._ended = time.monotonic()
        event.update(event="finished", id=request["id"], duration_s=self._ended - started)
        event["gap_s"] = None if before is None else started - before
        self.tell(event)

    def _await_go(self, point: str) -> None:
        """Say that all is ready and wait for the word, so that several guests start at once."""
        self.tell({"event": "ready", "id": point})
        word = self._next_request()
        if word is None:
            raise AskerGoneError
        if not word.get("go"):
            raise DeviceError("not started: another guest was not ready")

    def _begin(self, begun: dict[str, Any] | None) -> bool:
        """Await the word and tell that it has begun; False where that was long ago."""
        if begun is None:
            return False
        self._await_go(begun["id"])
        self.tell(begun)
        return True

    def _device(self, request: dict[str, Any]) -> str:
        """Return the device's path; one that did not come once is not waited for again."""
        address = request["pci_address"]
        if address in self._absent:
            raise DeviceError(self._absent[address])
        try:
            device = find_block_device(address, deadline_s=float(request["device_deadline_s"]))
        except DeviceError as error:
            self._absent[address] = str(error)
            raise
        refuse_if_in_use(device)
        return character_device(device) if request.get("node") == CHARACTER else f"/dev/{device}"

    def _fio(
        self, argv: list[str], limit_s: float, gate: Gate | None, begun: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Run fio to its end; ``begun`` is told once all guests' jobs stand at the gate."""
        clock = time.time()
        try:
            process = start_fio(argv, gate)
        except OSError as error:
            if gate:
                gate.close()
                gate.remove()
            self._begin(begun)
            return {"exit_code": None, "stdout": "", "stderr": f"{argv[0]} cannot be run: {error}"}
        output = Output(process)
        timed_out, stuck = False, []
        end = time.monotonic() + limit_s
        try:
            if gate:
                gate.await_jobs(output, end, asker=self._requests)
                end = time.monotonic() + limit_s if self._begin(begun) else end
                gate.open()
            output.read_until_end(end, asker=self._requests)
            timed_out = process.poll() is None
        finally:
            if gate:
                gate.close()
            stuck = stop_tree(process, output)
            if gate:
                gate.remove()
        stdout, stderr = output.texts()
        return {
            "exit_code": process.returncode,
            "timed_out": timed_out,
            "stuck": stuck,
            "stdout": stdout,
            "stderr": stderr[-STDERR_CHARACTERS:],
            "agent_started_at": clock,
            "let_go_at": gate.opened_at if gate else None,
            "agent_ended_at": time.time(),
        }


def start_fio(argv: list[str], gate: Gate | None) -> subprocess.Popen[bytes]:
    """Start fio in a session of its own; raises OSError."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, GATE: gate.folder} if gate else None,
        cwd=gate.folder if gate else None,  # fio writes there what its jobs' commands say
    )


class Gate:
    """Where the jobs of one fio wait until all have opened their devices, to begin at once.

    fio starts its jobs at once, but each then opens its device: xNVMe one after the other, so that
    the first of 24 had measured for seconds before the last began.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self.opened_at: float | None = None
        self.folder = f"/tmp/nvmelab-gate-{os.getpid()}-{time.monotonic_ns()}"  # noqa: S108
        os.mkdir(self.folder, 0o700)
        os.mkfifo(f"{self.folder}/go")
        # Both ends: no reader waits for a writer, and all read the end when this process dies.
        self._go = os.open(f"{self.folder}/go", os.O_RDWR)

    def await_jobs(self, output: Output, end: float, asker: int) -> None:
        """Return when all jobs have come, when one that complained never will, or fio has ended."""
        seen, changed = (0, 0), time.monotonic()
        while time.monotonic() < end and not output.has_ended():
            output.read_until_end(time.monotonic() + GATE_LOOK_S, asker=asker)
            now = (self._came(), output.complaint_size())
            if now != seen:
                seen, changed = now, time.monotonic()
            is_late = seen[1] and time.monotonic() >= changed + GATE_GRACE_S
            if seen[0] >= self._jobs or is_late:
                return

    def open(self) -> None:
        """Let all go, also those that are yet to come."""
        self.opened_at = time.time()
        os.write(self._go, b"\n" * self._jobs)

    def close(self) -> None:
        """Let go whoever waits or comes yet, without having them counted."""
        os.unlink(f"{self.folder}/go")
        os.close(self._go)

    def remove(self) -> None:
        """Remove what is left, once no job is there to write into it."""
        with contextlib.suppress(OSError):  # one that cannot be killed is
            for name in os.listdir(self.folder):
                os.unlink(f"{self.folder}/{name}")
            os.rmdir(self.folder)

    def _came(self) -> int:
        with contextlib.suppress(OSError):
            return os.stat(f"{self.folder}/came").st_size
        return 0


class Output:
    """What fio has said so far, on both streams."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._streams = [stream for stream in (process.stdout, process.stderr) if stream]
        self._parts: dict[int, list[bytes]] = {one.fileno(): [] for one in self._streams}
        self._open = set(self._parts)

    def texts(self) -> list[str]:
        """Return stdout's and stderr's text; what is no UTF-8 goes through as surrogates."""
        whole = (b"".join(parts) for parts in self._parts.values())
        return [text.decode("utf-8", "surrogateescape") for text in whole]

    def has_ended(self) -> bool:
        """Whether fio has ended."""
        return self._process.poll() is not None

    def complaint_size(self) -> int:
        """Return how many bytes stderr has brought."""
        stderr = self._process.stderr
        return sum(map(len, self._parts[stderr.fileno()])) if stderr else 0

    def close(self) -> None:
        """Close both streams."""
        for stream in self._streams:
            stream.close()

    def read_until_end(self, deadline: float, asker: int | None = None) -> None:
        """Read until fio has ended or the deadline; raises AskerGoneError when the asker ends."""
        while self._open and time.monotonic() < deadline:
            watched = [*self._open, *([] if asker is None else [asker])]
            ready = select.select(watched, [], [], min(0.5, max(0, deadline - time.monotonic())))[0]
            for number in ready:
                if number == asker:
                    raise AskerGoneError  # no request is due now: an end, or an order to stop
                self._take(number)
            # A job process that fio left behind may hold the streams open for ever.
            if not ready and self._process.poll() is not None:
                return
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)

    def _take(self, number: int) -> None:
        block = os.read(number, 1 << 18)
        if block:
            self._parts[number].append(block)
        else:
            self._open.discard(number)


def stop_tree(process: subprocess.Popen[bytes], output: Output) -> list[int]:
    """End fio and its job processes if it still runs: asked first, so that it can report.

    Return those that cannot be killed: they wait in the kernel for a device.
    """
    stuck: list[int] = []
    if process.poll() is None:
        # fio's jobs make sessions of their own: a signal to the group does not reach them.
        family = [process.pid, *descendants(process.pid)]
        process.send_signal(signal.SIGTERM)
        output.read_until_end(time.monotonic() + TERM_S)
        if process.poll() is None:
            # Its group too: what has another parent by now.
            for pid in {*family, *descendants(process.pid), -process.pid}:
                kill(pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TERM_S)
            stuck = still_alive(family)
    output.close()
    return stuck


def still_alive(pids: list[int]) -> list[int]:
    """Return those that live a second after they were killed; a zombie does not."""
    end = time.monotonic() + KILL_S
    while True:
        alive = [pid for pid in pids if is_alive(pid)]
        if not alive or time.monotonic() >= end:
            return alive
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in {"Z", "X", "x"}
    except OSError:
        return False


def kill(pid: int) -> None:
    """Kill a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """Return the pids of all processes below one."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(name))
    found = list(parents.get(root, []))
    for pid in found:
        found += parents.get(pid, [])
    return found


def find_block_device(address: str, *, sysfs: str = "/sys", deadline_s: float = 10.0) -> str:
    """Return the name of the one block device behind a PCI address, e.g. ``vdb``.

    Found by where /sys/block leads to, never by the order of names. A namespace of a
    multipath NVMe controller (nvme0c1n1) is hidden; its head (nvme0n1) is the device.

    Raises:
        DeviceError: none appears in time, or there are several.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        names = block_devices(address, sysfs)
        if len(names) == 1:
            return names[0]
        if len(names) > 1:
            raise DeviceError(f"PCI device {address} has several block devices: {', '.join(names)}")
        if time.monotonic() >= deadline:
            raise DeviceError(_absence(address, sysfs, deadline_s))
        time.sleep(0.05)


def character_device(device: str, *, dev: str = "/dev") -> str:
    """Return the path of an NVMe disk's character device; ``nvme0n1`` has ``/dev/ng0n1``.

    Raises:
        DeviceError: it has none: another kind of disk, or a kernel before 5.13.
    """
    path = f"{dev}/ng{device[len('nvme') :]}"
    if not device.startswith("nvme") or not os.path.exists(path):
        raise DeviceError(f"/dev/{device} has no character device for NVMe commands (ng…)")
    return path


def block_devices(address: str, sysfs: str = "/sys") -> list[str]:
    """Return the block devices with a size behind a PCI address, sorted."""
    found = set()
    for name in os.listdir(f"{sysfs}/block"):
        way = os.path.realpath(f"{sysfs}/block/{name}").split("/")
        if address in way:
            hidden = re.fullmatch(r"nvme(\d+)c\d+n(\d+)", name)
            found.add(f"nvme{hidden[1]}n{hidden[2]}" if hidden else name)
    return sorted(name for name in found if _sectors(name, sysfs) > 0)


def _sectors(name: str, sysfs: str) -> int:
    try:
        with open(f"{sysfs}/block/{name}/size", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 0


def _absence(address: str, sysfs: str, deadline_s: float) -> str:
    place = f"{sysfs}/bus/pci/devices/{address}"
    if not os.path.isdir(place):
        return f"no PCI device {address} after {deadline_s:g} s"
    driver = os.path.basename(os.path.realpath(f"{place}/driver"))
    bound = f"driver {driver}" if os.path.isdir(f"{place}/driver") else "no driver bound"
    return f"PCI device {address} ({bound}) shows no block device after {deadline_s:g} s"


def refuse_if_in_use(device: str, *, sysfs: str = "/sys", proc: str = "/proc") -> None:
    """Raise DeviceError if the disk or a part of it is mounted, swap, or held by another device."""
    base = f"{sysfs}/class/block/{device}"
    parts = [base, *(f"{base}/{name}" for name in os.listdir(base) if name.startswith(device))]
    numbers = {_first_line(f"{part}/dev"): os.path.basename(part) for part in parts}
    with open(f"{proc}/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[2] in numbers:
                raise DeviceError(f"/dev/{numbers[words[2]]} is mounted on {words[4]}")
    with open(f"{proc}/swaps", encoding="utf-8", errors="replace") as file:
        swaps = [os.path.basename(line.split()[0]) for line in file.readlines()[1:]]
    for part in parts:
        name = os.path.basename(part)
        if name in swaps:
            raise DeviceError(f"/dev/{name} is used as swap")
        holders = os.listdir(f"{part}/holders") if os.path.isdir(f"{part}/holders") else []
        if holders:
            raise DeviceError(f"/dev/{name} is held by {', '.join(sorted(holders))}")


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except OSError:
        return path  # not a number pair: equals none


def main(fio: str, mark: str) -> None:
    """Serve on stdin and stdout; fio inherits the mark, so that leftovers can be told apart."""
    os.environ[MARK] = mark
    agent = Agent(0, 1)
    # A signal must not leave fio behind: leave through the finally that stops it.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _leave)
    with contextlib.suppress(AskerGoneError, BrokenPipeError):
        agent.hello(fio)
        agent.serve()


def _leave(_number: int, _frame: object) -> None:
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # stopping fio must not be cut short
    raise AskerGoneError


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
