# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent beside fio: what it runs, what it refuses, what it leaves behind: nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_fakes import GOOD_OUTPUT, fake_fio, wait_until

from ansible_collections.nvmelab.bench.plugins.module_utils.run import agent_connection, guest_agent
from ansible_collections.nvmelab.bench.plugins.module_utils.run.agent_connection import (
    AgentConnection,
    AgentError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.guest_agent import DeviceError

Connect = Callable[[str], AgentConnection]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Start agents as the executor does; they are closed in the end."""
    opened: list[AgentConnection] = []

    def start(fio: str) -> AgentConnection:
        argv = agent_connection.local_argv(fio, "run-of-a-test")
        source = agent_connection.agent_source()
        opened.append(AgentConnection(argv, source=source, log_path=tmp_path / "agent.log"))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def ask(agent: AgentConnection, argv: list[str], **more: Any) -> dict[str, Any]:
    """Request one point and return the last event of it."""
    request = {"id": "0001", "argv": argv, "pci_address": None, "device_deadline_s": 0}
    agent.request({**request, "limit_s": 30, "is_first": False, **more})
    event = agent.event(deadline_s=30)
    return agent.event(deadline_s=30) if event["event"] == "started" else event


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_output_comes_back_byte_by_byte(connect: Connect, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 survive the way; stderr is kept apart; the exit code is fio's."""
    odd = tmp_path / "odd"
    odd.write_bytes(b'{"a": "\xff\xe9\n"}')
    fio = fake_fio(tmp_path, "echo oops >&2", output=odd)
    agent = connect(fio)
    assert agent.event(deadline_s=30)["fio_version"] == "fio-3.33"
    event = ask(agent, [fio])
    assert event["stdout"].encode("utf-8", "surrogateescape") == odd.read_bytes()
    assert (event["stderr"], event["exit_code"], event["timed_out"]) == ("oops\n", 0, False)


def test_gap_is_measured_between_points_only(connect: Connect, tmp_path: Path) -> None:
    """The first point has none; the second has; one that begins a stretch has none again."""
    fio = fake_fio(tmp_path)
    agent = connect(fio)
    agent.event(deadline_s=30)
    gaps = [ask(agent, [fio])["gap_s"], ask(agent, [fio])["gap_s"]]
    assert gaps[0] is None
    assert gaps[1] >= 0
    assert ask(agent, [fio], is_first=True)["gap_s"] is None


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "cannot be run"),
        ("#!/bin/sh\necho broken >&2; exit 127\n", "ended with 127: broken"),
        ("#!/bin/sh\necho something else\n", "ended with 0: something else"),
    ],
)
def test_missing_or_broken_fio_is_told_at_once(
    connect: Connect, tmp_path: Path, program: str | None, said: str
) -> None:
    """The hello says what is wrong with fio, before any point is asked for."""
    path = tmp_path / "fio"
    if program:
        path.write_text(program)
        path.chmod(0o755)
    assert said in connect(str(path)).event(deadline_s=30)["fio_error"]


def altered_source(*changes: tuple[str, str]) -> str:
    """The agent with other words in place of some that it has once."""
    source = agent_connection.agent_source()
    for real, ours in changes:
        assert source.count(real) == 1
        source = source.replace(real, ours)
    return source


def test_fio_that_hangs_is_ended_with_all_its_jobs(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit fio and a job in a session of its own are gone, and the event says why."""
    source = altered_source(("TERM_S = 5.0", "TERM_S = 0.3"))
    monkeypatch.setattr(agent_connection, "agent_source", lambda: source)
    pids = tmp_path / "pids"
    job = f"setsid sh -c 'trap \"\" TERM; echo $$ >> {pids}; sleep 300'"
    fio = fake_fio(tmp_path, f"trap '' TERM; echo $$ >> {pids}; {job} & wait; sleep 300")
    agent = connect(fio)
    agent.event(deadline_s=30)
    event = ask(agent, [fio], limit_s=1)
    assert event["timed_out"]
    assert event["exit_code"] == -signal.SIGKILL
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    wait_until(lambda: all(is_gone(pid) for pid in started))


def test_fio_that_cannot_be_killed_is_told_with_its_pids(tmp_path: Path) -> None:
    """Such a process waits in the kernel for its device; the agent does not wait with it."""
    fio = fake_fio(tmp_path, "trap '' TERM; sleep 300")
    immortal = ("os.kill(pid, signal.SIGKILL)", "pass")
    source = altered_source(
        immortal, ("TERM_S = 5.0", "TERM_S = 0.1"), ("KILL_S = 1.0", "KILL_S = 0.3")
    )
    argv = agent_connection.local_argv(fio, "run-of-a-test")
    agent = AgentConnection(argv, source=source, log_path=tmp_path / "agent.log")
    agent.event(deadline_s=30)
    event = ask(agent, [fio], limit_s=0.5)
    try:
        assert (event["timed_out"], event["exit_code"]) == (True, None)
        assert len(event["stuck"]) == 2  # the shell that is our fio, and its sleep
        assert guest_agent.still_alive(event["stuck"]) == event["stuck"]
    finally:
        for pid in event["stuck"]:
            os.kill(pid, signal.SIGKILL)
        agent.close()


def test_a_zombie_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was killed and only waits for its parent does not count as stuck."""
    monkeypatch.setattr(guest_agent, "KILL_S", 30)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        assert guest_agent.still_alive([pid]) == []
    finally:
        os.waitpid(pid, 0)


def test_agent_that_nobody_listens_to_stops_fio(connect: Connect, tmp_path: Path) -> None:
    """When the connection closes in mid-point, fio does not go on alone."""
    pids = tmp_path / "pids"
    fio = fake_fio(tmp_path, f"echo $$ >> {pids}; exec sleep 300")
    agent = connect(fio)
    agent.event(deadline_s=30)
    agent.request(
        {"id": "1", "argv": [fio], "device_deadline_s": 0, "limit_s": 300, "is_first": True}
    )
    wait_until(pids.exists)
    agent.close()
    wait_until(lambda: is_gone(int(pids.read_text())))
    assert not agent.is_open()


def test_fio_carries_the_mark_of_its_run(connect: Connect, tmp_path: Path) -> None:
    """Leftovers of a killed agent can be told from other people's fio."""
    marks = tmp_path / "marks"
    fio = fake_fio(tmp_path, f"echo $NVMELAB_RUN > {marks}")
    agent = connect(fio)
    agent.event(deadline_s=30)
    ask(agent, [fio])
    assert marks.read_text() == "run-of-a-test\n"


def test_device_that_is_not_there_is_refused_and_not_awaited_twice(
    connect: Connect, tmp_path: Path
) -> None:
    """The point is refused with the address; the next one does not wait for it again."""
    fio = fake_fio(tmp_path)
    agent = connect(fio)
    agent.event(deadline_s=30)
    nowhere = {"pci_address": "ffff:ff:1f.7", "device_deadline_s": 0.1}
    event = ask(agent, [fio, "--filename={device}"], **nowhere)
    assert event["event"] == "refused"
    assert "no PCI device ffff:ff:1f.7" in event["cause"]
    began = time.monotonic()
    ask(agent, [fio], **{**nowhere, "device_deadline_s": 3600})
    assert time.monotonic() - began < 60


def test_every_device_gets_its_own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first, second and twelfth placeholder each become the path of their own device."""
    found = {f"0000:00:{slot:02x}.0": f"vd{letter}" for slot, letter in enumerate("abcdefghijkl")}
    monkeypatch.setattr(guest_agent, "find_block_device", lambda address, **_: found[address])
    monkeypatch.setattr(guest_agent, "refuse_if_in_use", lambda _: None)
    read, write = os.pipe()
    argv = ["true", "--filename={device}"]
    argv += [f"--filename={guest_agent.further_device(number)}" for number in range(11)]
    first, *more = ({"pci_address": address, "node": "block"} for address in found)
    request = {"id": "1", "argv": argv, **first, "more": more, "device_deadline_s": 0}
    agent = guest_agent.Agent(os.open("/dev/null", os.O_RDONLY), write)
    monkeypatch.setattr(agent, "_fio", lambda *_: {})
    agent._run({**request, "is_first": True, "limit_s": 1})
    started = json.loads(os.read(read, 1 << 16).splitlines()[0])
    assert started["argv"][1:] == [f"--filename=/dev/{name}" for name in found.values()]


def test_a_held_point_starts_at_the_word(connect: Connect, tmp_path: Path) -> None:
    """It says that it is ready, and runs fio only when told; told otherwise it refuses."""
    fio = fake_fio(tmp_path, f"echo >> {tmp_path}/ran")
    agent = connect(fio)
    agent.event(deadline_s=30)
    assert ask(agent, [fio], hold=True) == {"event": "ready", "id": "0001"}
    assert not (tmp_path / "ran").exists()
    agent.request({"id": "0001", "go": False})
    assert "another guest was not ready" in agent.event(deadline_s=30)["cause"]
    ask(agent, [fio], hold=True)
    agent.request({"id": "0001", "go": True})
    assert [agent.event(deadline_s=30)["event"] for _ in range(2)] == ["started", "finished"]
    assert (tmp_path / "ran").read_text() == "\n"


def gated_fio(tmp_path: Path, then: str = "") -> str:
    """A fio with three jobs, the last of which opens its device late; they log what they do."""
    log = tmp_path / "log"
    job = f'sleep 0.$n; echo came >>{log}; sh -c "$1"; echo began >>{log}'
    jobs = f'for n in 1 2 4; do ( {job} ) & done; echo "$NVMELAB_GATE" >{tmp_path}/gate; '
    return fake_fio(tmp_path, f"{jobs}{then}\nwait")


def test_jobs_wait_at_the_gate_for_the_last(connect: Connect, tmp_path: Path) -> None:
    """None begins before all have come; nothing of the gate is left. Without one, none waits."""
    fio = gated_fio(tmp_path)
    agent = connect(fio)
    agent.event(deadline_s=30)
    event = ask(agent, [fio, guest_agent.AT_GATE], gate=3)
    assert event["exit_code"] == 0
    assert event["agent_started_at"] < event["let_go_at"] < event["agent_ended_at"]
    assert (tmp_path / "log").read_text().split() == ["came"] * 3 + ["began"] * 3
    gate = (tmp_path / "gate").read_text().strip()
    assert gate.startswith("/tmp/")
    assert not Path(gate).exists()
    event = ask(agent, [fio, guest_agent.AT_GATE])
    assert (event["exit_code"], event["let_go_at"]) == (0, None)
    assert (tmp_path / "gate").read_text() == "\n"


@pytest.mark.parametrize("go", [True, False])
def test_a_held_point_is_ready_when_its_jobs_are(
    connect: Connect, tmp_path: Path, *, go: bool
) -> None:
    """All have come then, none begins before the word; told otherwise, fio is ended."""
    fio = gated_fio(tmp_path)
    agent = connect(fio)
    agent.event(deadline_s=30)
    assert ask(agent, [fio, guest_agent.AT_GATE], gate=3, hold=True)["event"] == "ready"
    assert (tmp_path / "log").read_text().split() == ["came"] * 3
    agent.request({"id": "0001", "go": go})
    event = agent.event(deadline_s=30)
    assert event["event"] == ("started" if go else "refused")
    if go:
        assert agent.event(deadline_s=30)["exit_code"] == 0
        assert (tmp_path / "log").read_text().split()[3:] == ["began"] * 3
    assert not Path((tmp_path / "gate").read_text().strip()).exists()


def test_a_held_fio_that_is_not_there_is_told_in_its_turn(connect: Connect, tmp_path: Path) -> None:
    """Ready, started and finished as of any other: the other guests' points go on."""
    agent = connect(fake_fio(tmp_path))
    agent.event(deadline_s=30)
    assert ask(agent, ["/no/such/fio"], gate=2, hold=True)["event"] == "ready"
    agent.request({"id": "0001", "go": True})
    assert agent.event(deadline_s=30)["event"] == "started"
    assert "cannot be run" in agent.event(deadline_s=30)["stderr"]


def test_a_job_that_complained_and_never_comes_is_not_waited_for(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on, so that fio ends and tells why, long before the point's limit."""
    source = altered_source(("GATE_GRACE_S = 10.0", "GATE_GRACE_S = 0.2"))
    monkeypatch.setattr(agent_connection, "agent_source", lambda: source)
    fio = gated_fio(tmp_path, "echo no such device >&2")
    agent = connect(fio)
    agent.event(deadline_s=30)
    event = ask(agent, [fio, guest_agent.AT_GATE], gate=4)
    assert (event["exit_code"], event["timed_out"]) == (0, False)
    assert event["stderr"] == "no such device\n"
    assert (tmp_path / "log").read_text().split().count("began") == 3


def test_who_waits_at_the_gate_is_ended_with_the_asker(connect: Connect, tmp_path: Path) -> None:
    """The connection closes while a job waits for one that never comes: fio ends, all is gone."""
    fio = gated_fio(tmp_path, f"echo $$ >{tmp_path}/pid")
    agent = connect(fio)
    agent.event(deadline_s=30)
    more = {"pci_address": None, "device_deadline_s": 0, "limit_s": 30, "is_first": False}
    agent.request({"id": "0001", "argv": [fio, guest_agent.AT_GATE], "gate": 9, **more})
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "log").exists())
    agent.close()
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())))
    wait_until(lambda: not Path((tmp_path / "gate").read_text().strip()).exists())


def test_death_of_the_agent_is_told(connect: Connect, tmp_path: Path) -> None:
    """Killed from outside, the next wait names the log instead of waiting for the deadline."""
    agent = connect(fake_fio(tmp_path))
    agent.event(deadline_s=30)
    os.kill(agent.pid, signal.SIGKILL)
    with pytest.raises(AgentError, match=r"ended \(exit -9\).*agent\.log"):
        agent.event(deadline_s=30)


def test_noise_instead_of_an_event_is_told(tmp_path: Path) -> None:
    """A login shell that prints a banner spoils the conversation: its text is in the message."""
    agent = AgentConnection(
        ["sh", "-c", "echo Welcome!; cat >/dev/null"], source="x", log_path=tmp_path / "log"
    )
    try:
        with pytest.raises(AgentError, match="found b'Welcome!' where an event"):
            agent.event(deadline_s=30)
    finally:
        agent.close()


def test_silence_ends_at_the_deadline_and_the_check_is_heard(tmp_path: Path) -> None:
    """While nothing comes the caller's check runs, and what it raises is what the caller gets."""
    agent = AgentConnection(["sh", "-c", "cat >/dev/null"], source="x", log_path=tmp_path / "log")

    def dead_guest() -> None:
        raise RuntimeError("guest died")

    try:
        with pytest.raises(AgentError, match="no word from the agent for 0 s"):
            agent.event(deadline_s=0.1)
        with pytest.raises(RuntimeError, match="guest died"):
            agent.event(deadline_s=30, check=dead_guest)
    finally:
        agent.close()


def make_block_device(sysfs: Path, name: str, way: str, *, sectors: int = 8) -> None:
    """Make /sys/block/NAME as the kernel does: a link to a directory below its PCI device."""
    place = sysfs / "devices" / way / name
    place.mkdir(parents=True)
    (place / "size").write_text(f"{sectors}\n")
    for folder in ("block", "class/block"):
        (sysfs / folder).mkdir(parents=True, exist_ok=True)
        (sysfs / folder / name).symlink_to(place)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Devices as QEMU's q35 shows them, and an SPDK controller with NVMe multipath."""
    root = tmp_path / "sys"
    make_block_device(root, "vda", "pci0000:00/0000:00:12.0/virtio3/block")
    make_block_device(
        root, "sda", "pci0000:00/0000:00:15.0/virtio6/host0/target0:0:0/0:0:0:0/block"
    )
    make_block_device(root, "nvme0n1", "pci0000:00/0000:00:02.0/nvme/nvme0")
    make_block_device(root, "nvme1c1n1", "pci0000:00/0000:00:17.0/nvme/nvme1", sectors=0)
    make_block_device(root, "nvme1n1", "virtual/nvme-subsystem/nvme-subsys1")
    make_block_device(root, "vdb", "pci0000:00/0000:00:18.0/virtio9/block", sectors=0)
    return root


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("0000:00:12.0", ["vda"]),
        ("0000:00:15.0", ["sda"]),
        ("0000:00:02.0", ["nvme0n1"]),
        ("0000:00:17.0", ["nvme1n1"]),
        ("0000:00:18.0", []),
        ("0000:00:01.0", []),
    ],
)
def test_device_is_found_by_its_pci_address(sysfs: Path, address: str, names: list[str]) -> None:
    """virtio-blk, virtio-scsi, nvme, and the head of a multipath namespace; not an empty disk."""
    assert guest_agent.block_devices(address, str(sysfs)) == names


def test_several_namespaces_are_no_answer(sysfs: Path) -> None:
    """Which of two is meant cannot be told, so both are named."""
    make_block_device(sysfs, "nvme0n2", "pci0000:00/0000:00:02.0/nvme/nvme0-2")
    with pytest.raises(DeviceError, match="several block devices: nvme0n1, nvme0n2"):
        guest_agent.find_block_device("0000:00:02.0", sysfs=str(sysfs), deadline_s=0)


def test_absent_device_is_told_with_its_driver(sysfs: Path) -> None:
    """A PCI device without a driver, or with one but no disk, is told apart from none."""
    place = sysfs / "bus/pci/devices/0000:00:19.0"
    place.mkdir(parents=True)
    with pytest.raises(DeviceError, match=r"0000:00:19\.0 \(no driver bound\) shows no block"):
        guest_agent.find_block_device("0000:00:19.0", sysfs=str(sysfs), deadline_s=0)
    (sysfs / "bus/pci/drivers/nvme").mkdir(parents=True)
    (place / "driver").symlink_to(sysfs / "bus/pci/drivers/nvme")
    with pytest.raises(DeviceError, match="driver nvme"):
        guest_agent.find_block_device("0000:00:19.0", sysfs=str(sysfs), deadline_s=0)


def test_device_in_use_is_refused(sysfs: Path, tmp_path: Path) -> None:
    """Mounted (itself or a part of it), swap, or held by another device; free it is let through."""
    disk = (sysfs / "block/vda").resolve()
    (disk / "dev").write_text("254:0\n")
    (disk / "vda1").mkdir()
    (disk / "vda1" / "dev").write_text("254:1\n")
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    mounts, swaps = proc / "self/mountinfo", proc / "swaps"
    mounts.write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    swaps.write_text("Filename Type Size Used Priority\n")

    def refuse() -> None:
        guest_agent.refuse_if_in_use("vda", sysfs=str(sysfs), proc=str(proc))

    refuse()
    (disk / "holders").mkdir()
    (disk / "holders" / "dm-0").mkdir()
    with pytest.raises(DeviceError, match="/dev/vda is held by dm-0"):
        refuse()
    swaps.write_text("Filename Type Size Used Priority\n/dev/vda1 partition 1 0 -2\n")
    with pytest.raises(DeviceError, match=r"/dev/vda is held|/dev/vda1 is used as swap"):
        refuse()
    mounts.write_text("22 1 254:1 / /data rw - ext4 /dev/vda1 rw\n")
    with pytest.raises(DeviceError, match="/dev/vda1 is mounted on /data"):
        refuse()


def test_character_device_of_a_disk(tmp_path: Path) -> None:
    """Of the same numbers; a disk without one, or no NVMe disk, is refused by name."""
    (tmp_path / "ng1n2").touch()
    dev = str(tmp_path)
    assert guest_agent.character_device("nvme1n2", dev=dev) == f"{dev}/ng1n2"
    for name in ("nvme0n1", "vdb"):
        with pytest.raises(DeviceError, match=f"/dev/{name} has no character device"):
            guest_agent.character_device(name, dev=dev)


def test_good_output_is_the_readers_food() -> None:
    """The stand-in prints what a real fio printed: else these tests would test themselves."""
    assert GOOD_OUTPUT.read_text().lstrip().startswith("{")
