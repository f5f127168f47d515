# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest starts by evidence, names its trouble, is found again, and leaves nothing but logs."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_fakes import device, guest_spec, lab_image, program, qemu_capabilities

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.guest import boot as guest_boot
from ansible_collections.nvmelab.bench.plugins.module_utils.guest import running as guest
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import QmpError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import (
    GuestError,
    RunningGuest,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import launch_guest
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_affinity import AffinityError
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends

FAKE_QEMU = (Path(__file__).parents[4] / "support/fake_qemu.py").read_text(encoding="utf-8")


class Lab:
    """A lab host whose QEMU and ssh are fakes."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = root / "run"
        self.image = lab_image(root)
        self.qemu = qemu_capabilities(program(root / "qemu", FAKE_QEMU))
        self.monkeypatch = monkeypatch
        (root / "shm").mkdir()
        (root / "bin").mkdir()
        program(root / "bin" / "ssh", "")
        monkeypatch.setenv("PATH", f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(backends, "TMPFS", str(root / "shm"))

    def start(self, *devices: dict[str, Any], wish: str = "", **options: Any) -> RunningGuest:
        """Start a guest whose QEMU behaves as wished."""
        self.monkeypatch.setenv("FAKE_QEMU", wish)
        spec = options.pop("spec", None) or guest_spec(*devices)
        return launch_guest(
            spec,
            **{
                "directory": self.directory,
                "image": self.image,
                "qemu": self.qemu,
                "accelerator": "tcg",
                "deadline_s": 20,
                **options,
            },
        ).wait()

    def left(self) -> list[str]:
        """What is left of guests, beside their logs."""
        files = [path for path in self.directory.rglob("*") if not path.is_dir()]
        shm = (self.directory.parent / "shm").rglob("*")
        return [str(path) for path in (*files, *shm) if path.suffix != ".log"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab host with fakes, and nothing running on it after a test that failed."""
    lab_host = Lab(tmp_path, monkeypatch)
    yield lab_host
    processes.stop_recorded(lab_host.directory / "processes")


def test_a_guest_runs_is_well_and_leaves_only_logs(lab: Lab) -> None:
    """Start, check, pause, resume, stop: each as it says, and twice stopped is stopped."""
    ram = device(backend={"kind": "ram", "size_mib": 1})
    running = lab.start(ram)
    assert running.boot_s > 0
    running.check()
    running.pause()
    running.check()
    running.resume()
    running.check()
    assert running.device_address("disk") == "0000:00:10.0"
    assert Path(running.backends["disk"].path or "").exists()
    assert len(lab.left()) == 5, "record, state, socket, and the folder and file in RAM"
    running.stop()
    assert not processes.is_alive(running.process)
    assert lab.left() == []
    running.stop()


def test_an_unknown_device_is_named_with_those_there_are(lab: Lab) -> None:
    """Asking for a device that the guest has not is an error that lists what it has."""
    running = lab.start(device())
    with pytest.raises(GuestError, match="no device 'x'; it has disk"):
        running.device_address("x")
    running.stop()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("dies", "guest-1: QEMU ended with exit status 1: qemu-fake: something is wrong"),
        ("panic", r"the guest's kernel panicked: \[ +0\.2\] Kernel panic - not syncing: no root"),
        ("io-error", r"QEMU paused the guest after an I/O error"),
        ("paused", r"QEMU holds the guest \(query-status: paused\)"),
    ],
)
def test_a_guest_that_does_not_come_up_names_the_cause(lab: Lab, wish: str, said: str) -> None:
    """Before the deadline, by evidence, with both logs; and nothing is left."""
    with pytest.raises(GuestError, match=said) as caught:
        lab.start(device(backend={"kind": "raw-file", "size_mib": 1}), wish=wish)
    assert "guest-1.serial.log" in str(caught.value)
    assert "guest-1.qemu.log" in str(caught.value)
    assert lab.left() == []


def test_a_deadline_says_what_was_awaited_and_the_last_words(lab: Lab) -> None:
    """A guest that hangs is ended with what was awaited, how long, and the last console line."""
    with pytest.raises(GuestError, match=r"waited \d+ s in vain for the guest's SSH banner") as e:
        lab.start(wish="silent", deadline_s=0.5)
    assert "'[    0.1] booting'" in str(e.value)
    assert lab.left() == []


def test_a_refused_login_ends_the_guest(lab: Lab) -> None:
    """A key that is refused is an error that names the key, not a wait."""
    ssh = lab.directory.parent / "bin" / "ssh"
    program(ssh, "raise SystemExit('Permission denied (publickey).')")
    with pytest.raises(GuestError, match=r"guest-1: root@127\.0\.0\.1 .* refuses the key"):
        lab.start()
    assert lab.left() == []


def test_a_taken_port_is_tried_again_with_another(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that somebody was quicker to take costs a try; always taken is an error."""
    real = guest_boot.free_port
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        ports = iter([taken, taken, real()])
        monkeypatch.setattr(guest_boot, "free_port", lambda: next(ports))
        running = lab.start()
        assert running.ssh.port != taken
        running.stop()
        monkeypatch.setattr(guest_boot, "free_port", lambda: taken)
        with pytest.raises(GuestError, match=rf"5 times another process took the port .*{taken}"):
            lab.start()
    assert lab.left() == []


def test_a_killed_qemu_is_named_and_cleared_away(lab: Lab) -> None:
    """check() says which signal ended QEMU and where its log is."""
    running = lab.start()
    os.kill(running.process.pid, 9)
    processes.wait(running.process, deadline_s=5)
    with pytest.raises(GuestError, match=r"QEMU was killed by SIGKILL .*guest-1\.qemu\.log"):
        running.check()
    running.stop()
    assert lab.left() == []


def test_a_full_disk_is_named_by_its_event(lab: Lab) -> None:
    """No space left is found though the guest runs on."""
    running = lab.start(wish="full")
    with pytest.raises(GuestError, match=r"no space left on the lab host for .* node-disk"):
        running.check()
    running.stop()


def test_a_deaf_qemu_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A QEMU that runs and does not answer is an error of its own, and can be stopped."""
    running = lab.start()

    def deaf(*_: object, **__: object) -> None:
        raise QmpError("waited in vain")

    monkeypatch.setattr(running.control(), "execute", deaf)
    with pytest.raises(GuestError, match=r"QEMU runs \(pid \d+\) but does not answer"):
        running.check()
    running.stop()
    assert lab.left() == []


def test_a_guest_is_found_again_by_another_session(lab: Lab) -> None:
    """What was started can be checked and stopped from its record, backends included."""
    running = lab.start(device(backend={"kind": "ram", "size_mib": 1}))
    assert running.qmp is not None
    running.qmp.close()  # the first session has ended
    again = guest.load_guest(lab.directory, "guest-1")
    assert again is not None
    again.check()
    assert again.summary() == running.summary()
    again.stop()
    assert lab.left() == []
    assert guest.load_guest(lab.directory, "guest-1") is None


def test_what_was_remembered_and_is_torn_is_named(lab: Lab) -> None:
    """A torn memory of a guest is an error with its path and what to do."""
    path = guest.state_path(lab.directory, "guest-1")
    path.parent.mkdir(parents=True)
    path.write_text('{"process": {')
    with pytest.raises(GuestError, match=r"guest-1\.json: cannot be read .* end QEMU by hand"):
        guest.load_guest(lab.directory, "guest-1")


def test_threads_are_pinned_as_asked(lab: Lab) -> None:
    """Threads of CPUs and IOThreads run where the plan says, and the result tells it."""
    cpu = max(os.sched_getaffinity(0))
    running = lab.start(spec=guest_spec(cpus=str(cpu), iothread_cpus=str(cpu)))
    assert [(t["kind"], t["cpus"]) for t in running.threads] == [
        ("vcpu", str(cpu)),
        ("iothread", str(cpu)),
    ]
    assert os.sched_getaffinity(running.process.pid) == {cpu}
    running.stop()


def test_the_log_of_an_earlier_boot_is_kept(lab: Lab) -> None:
    """A guest that boots again does not write over what the last boot said."""
    for _ in range(3):
        lab.start().stop()
    logs = sorted(path.name for path in (lab.directory / "logs").glob("*.serial*"))
    assert logs == ["guest-1.serial.1.log", "guest-1.serial.2.log", "guest-1.serial.log"]


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        (guest_spec(memory_mib=1 << 30), GuestError, "memory_mib 1073741824: this machine has"),
        (
            guest_spec(memory_mib=1 << 30, hugepages=True),
            GuestError,
            r"of those of 2 MiB \d+ MiB are free; have 536870912 free ones: role hugepages",
        ),
        (guest_spec(cpus="1023"), AffinityError, "cannot run on CPUs 1023"),
        (guest_spec(cpus="x"), BadInputError, "CPU list 'x'"),
        (guest_spec(device(model="vhost-user-blk")), BadInputError, "no storage target serves"),
        (guest_spec(device(slot=3)), BadInputError, "PCI slot 3"),
    ],
)
def test_a_wrong_specification_starts_nothing(
    lab: Lab, spec: dict[str, Any], error: type[NvmelabError], said: str
) -> None:
    """What would only show as a guest that hangs is refused before."""
    with pytest.raises(error, match=said):
        lab.start(spec=spec)
    assert lab.left() == []


def test_a_target_that_has_gone_is_named(lab: Lab, tmp_path: Path) -> None:
    """A socket that is not there is found before QEMU looks for it."""
    with pytest.raises(GuestError, match=r"no socket at .*gone; has the storage target ended"):
        lab.start(device(model="vhost-user-blk"), sockets={"disk": str(tmp_path / "gone")})


def test_a_missing_image_is_named(lab: Lab) -> None:
    """A disk, kernel or key that is gone says which role makes it."""
    Path(lab.image["kernel"]).unlink()
    with pytest.raises(GuestError, match=r"no file .*kernel, .*run the role guest_image again"):
        lab.start()


def test_a_log_that_tells_of_a_panic_is_read_from_its_end(tmp_path: Path) -> None:
    """A long console does not hide the panic at its end, nor does an old line count as one."""
    log = tmp_path / "serial.log"
    log.write_text("x" * 100_000 + "\n[ 1.0] Kernel panic - not syncing: here\nmore\n")
    assert guest_boot.find_trouble(
        processes.Process("q", os.getpid(), processes.start_ticks(os.getpid()) or 0, (), "l"),
        None,
        log,
    ) == ("the guest's kernel panicked: [ 1.0] Kernel panic - not syncing: here")


def test_registers_are_not_the_cause(tmp_path: Path) -> None:
    """QEMU 11.1 says why it aborts, and then a hundred lines of registers."""
    log = tmp_path / "qemu.log"
    registers = "".join(
        [
            "CPU #0:\nRAX=0000000086000000 RBX=ffff888003dae000\nR8 =ffff8880055d8560\n",
            "ES =0000 0000000000000000 00000000\nGDT=     fffffe0000001000 0000007f\n",
            *(f"YMM{n:02}=0000000000000000 0000000000000000\n" for n in range(16)),
        ]
    )
    log.write_text(f"qemu: hardware error: vfio: DMA mapping failed\n{registers}")
    gone = processes.Process("q", os.getpid(), 0, (), str(log))
    found = guest_boot.find_trouble(gone, None, tmp_path / "serial.log")
    assert found is not None
    assert found.endswith(": qemu: hardware error: vfio: DMA mapping failed")


def test_the_record_tells_the_whole_command(lab: Lab) -> None:
    """From the record alone the guest can be started again by hand."""
    running = lab.start()
    record = json.loads((lab.directory / "processes" / "guest-1.json").read_text())
    assert record["argv"] == running.argv
    assert shutil.which(record["argv"][0])
    running.stop()
