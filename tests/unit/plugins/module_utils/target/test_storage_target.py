# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage targets serve what they were asked for, name their trouble, and leave only logs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_pci import FIRST, FakePci
from fake_spdk_host import FakeSpdkHost
from lab_fakes import program

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    backends,
    nvme_taking,
    running,
    spdk_bdev_file,
    spdk_host,
    storage_target,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    spdk as spdk_target,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import (
    Backend,
    BackendError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.qsd import daemon_argv
from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import (
    RunningTarget,
    TargetError,
)

SUPPORT = Path(__file__).parents[4] / "support"
FAKE_SPDK = f"""\
import sys
sys.path.insert(0, {str(SUPPORT)!r})
import fake_nvmf_tgt
fake_nvmf_tgt.main()
"""
QSD = shutil.which("qemu-storage-daemon")
needs_daemon = pytest.mark.skipif(QSD is None, reason="qemu-storage-daemon is not installed")


def _spec(kind: str = "qemu-storage-daemon", *names: str, **export: Any) -> dict[str, Any]:
    transport = "vfio-user" if kind == "spdk-nvmf-tgt" else "vhost-user"
    backend = {"kind": "bdev_null" if kind.startswith("spdk") else "null-co", "size_mib": 4}
    exports = [
        {"name": name, "transport": transport, "backend": backend, "num_queues": 2, **export}
        for name in names or ("disk",)
    ]
    return {"name": "target-1", "kind": kind, "cpus": None, "exports": exports}


class Lab:
    """A lab host with a fake SPDK and the real qemu-storage-daemon, where there is one."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = root / "run"
        self.monkeypatch = monkeypatch
        fake = program(root / "spdk", FAKE_SPDK)
        self.capabilities: dict[str, Any] = {
            "qemu_storage_daemon": {"path": QSD, "exports": ["vhost-user-blk"]} if QSD else None,
            "spdk": {"nvmf_tgt": fake, "vhost": fake, "version": "0"},
        }
        monkeypatch.setattr(backends, "TMPFS", str(root / "shm"))
        self.host = FakeSpdkHost(root / "host").install(monkeypatch)

    def start(self, spec: dict[str, Any], wish: str = "") -> RunningTarget:
        """Start a target that behaves as wished."""
        self.monkeypatch.setenv("FAKE_SPDK", wish)
        return storage_target.start_target(
            spec, directory=self.directory, capabilities=self.capabilities
        )

    def left(self) -> list[str]:
        """What is left beside the logs."""
        paths = [*self.directory.rglob("*"), *(self.directory.parent / "shm").rglob("*")]
        return [str(path) for path in paths if not path.is_dir() and path.suffix != ".log"]

    def calls(self) -> list[list[Any]]:
        """The RPC calls that the fake SPDK got."""
        log = (self.directory / "logs" / "target-1.log").read_text().splitlines()
        return [json.loads(line) for line in log if line.startswith("[")]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab host, and nothing running on it after a test that failed."""
    lab_host = Lab(tmp_path, monkeypatch)
    yield lab_host
    processes.stop_recorded(lab_host.directory / "processes")


def test_golden_command_of_the_storage_daemon() -> None:
    """Every export has its node and IOThread, and the monitor comes last."""
    made = {"a": Backend("null-co", 4096), "b": Backend("null-co", 8192)}
    spec = _spec("qemu-storage-daemon", "a", "b")
    words = daemon_argv(spec, "/qsd", made, {"a": "/r/a.sock", "b": "/r/b,c"}, Path("/r/m"))
    assert words == [
        "/qsd",
        *("--blockdev", "driver=null-co,node-name=node0,size=4096,read-zeroes=on"),
        *("--object", "iothread,id=io0"),
        "--export",
        (
            "type=vhost-user-blk,id=export0,node-name=node0,addr.type=unix,addr.path=/r/a.sock,"
            "writable=on,num-queues=2,iothread=io0"
        ),
        *("--blockdev", "driver=null-co,node-name=node1,size=8192,read-zeroes=on"),
        *("--object", "iothread,id=io1"),
        "--export",
        (
            "type=vhost-user-blk,id=export1,node-name=node1,addr.type=unix,addr.path=/r/b,,c,"
            "writable=on,num-queues=2,iothread=io1"
        ),
        *("--chardev", "socket,id=mon,path=/r/m,server=on,wait=off"),
        *("--monitor", "chardev=mon"),
    ]


@pytest.mark.qemu
@needs_daemon
def test_the_storage_daemon_serves_every_export_and_leaves_only_its_log(lab: Lab) -> None:
    """A client can connect to each socket; after stop() neither process nor files are left."""
    spec = _spec("qemu-storage-daemon", "a", "b")
    spec["exports"][0]["backend"] = {"kind": "ram", "size_mib": 1}
    spec["exports"][1]["backend"] = {"kind": "raw-file", "size_mib": 1}
    target = lab.start(spec)
    for path in target.sockets.values():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
    target.check()
    target.stop()
    assert not processes.is_alive(target.process)
    assert lab.left() == []
    target.stop()


@pytest.mark.qemu
@needs_daemon
def test_a_target_is_found_again_by_another_session(lab: Lab) -> None:
    """What was started can be checked and stopped from its record."""
    started = lab.start(_spec())
    again = running.load_target(lab.directory, "target-1")
    assert again is not None
    again.check()
    assert again.summary() == started.summary()
    again.stop()
    assert lab.left() == []
    assert running.load_target(lab.directory, "target-1") is None


def test_what_was_remembered_and_is_torn_is_named(lab: Lab) -> None:
    """A torn memory of a target is an error with its path and what to do."""
    path = running.state_path(lab.directory, "target-1")
    path.parent.mkdir(parents=True)
    path.write_text('{"process": {')
    with pytest.raises(TargetError, match=r"target-1\.json: cannot be read .* end the target by"):
        running.load_target(lab.directory, "target-1")


@pytest.mark.qemu
@needs_daemon
def test_a_killed_target_is_named(lab: Lab) -> None:
    """check() says which signal ended it; stop() clears away the sockets it left."""
    target = lab.start(_spec())
    os.kill(target.process.pid, 9)
    processes.wait(target.process, deadline_s=5)
    with pytest.raises(TargetError, match=r"target-1: qemu-storage-daemon was killed by SIGKILL"):
        target.check()
    target.stop()
    assert lab.left() == []


@pytest.mark.qemu
@needs_daemon
def test_a_daemon_that_refuses_its_arguments_is_quoted(lab: Lab) -> None:
    """The error carries what the daemon said, and its backends are removed."""
    spec = _spec(num_queues=100_000)
    spec["exports"][0]["backend"] = {"kind": "raw-file", "size_mib": 1}
    with pytest.raises(TargetError, match=r"ended with exit status 1: .*num-queues"):
        lab.start(spec)
    assert lab.left() == []


def test_the_nvmf_target_is_configured_export_by_export(lab: Lab) -> None:
    """Each thing is made after what it hangs on, once; the sockets exist then."""
    target = lab.start(_spec("spdk-nvmf-tgt", "a", "b"))
    changes = [m for m, _ in lab.calls() if re.search("create|add", m)]
    assert changes == [
        "nvmf_create_transport",
        *["bdev_null_create"] * 2,
        *["nvmf_create_subsystem"] * 2,
        *["nvmf_subsystem_add_ns"] * 2,
        *["nvmf_subsystem_add_listener"] * 2,
    ]
    calls = dict(map(tuple, lab.calls()))  # type: ignore[arg-type]
    assert calls["bdev_null_create"] == {"name": "bdev1", "num_blocks": 8192, "block_size": 512}
    assert calls["nvmf_subsystem_add_listener"]["listen_address"] == {
        "trtype": "VFIOUSER",
        "traddr": str(lab.directory / "vfio-user" / "b"),
        "trsvcid": "0",
    }
    assert target.sockets["b"] == str(lab.directory / "vfio-user" / "b" / "cntrl")
    target.check()
    target.stop()
    assert lab.left() == []


def test_a_stale_listener_socket_of_ours_is_removed_first(lab: Lab) -> None:
    """What a killed target left in our folder does not keep the next from listening."""
    target = lab.start(_spec("spdk-nvmf-tgt"))
    os.kill(target.process.pid, 9)
    processes.wait(target.process, deadline_s=5)
    assert Path(target.sockets["disk"]).exists()
    again = lab.start(_spec("spdk-nvmf-tgt"))
    again.stop()
    target.stop()
    assert lab.left() == []


def test_a_target_that_is_held_is_the_cause(lab: Lab) -> None:
    """Held by SIGSTOP it answers nobody: guest and fio would be blamed. It ends all the same."""
    target = lab.start(_spec("spdk-nvmf-tgt"))
    os.kill(target.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, target.process.pid, os.WSTOPPED | os.WNOWAIT)
    with pytest.raises(TargetError, match=r"spdk-nvmf-tgt \(pid \d+\) is held by a signal"):
        target.check()
    os.kill(target.process.pid, signal.SIGCONT)
    target.check()
    target.stop()
    assert lab.left() == []


def test_last_words_are_about_the_trouble(lab: Lab) -> None:
    """What SPDK told of its good start does not explain its end."""
    target = lab.start(_spec("spdk-nvmf-tgt"))
    os.kill(target.process.pid, 9)
    processes.wait(target.process, deadline_s=5)
    log = Path(target.process.log)
    for text, said in (
        ("[1] app.c: 919:x: *NOTICE*: Cores: 1\n", "killed by SIGKILL: it said nothing of it"),
        (
            "[1] a: *NOTICE*: fine\n[2] b: *ERROR*: bad\n",
            r"killed by SIGKILL: \[2\] b: \*ERROR\*: bad",
        ),
    ):
        log.write_text(text)
        with pytest.raises(TargetError, match=said):
            target.check()
    target.stop()


def test_a_killed_spdk_leaves_nothing_on_the_host(lab: Lab, tmp_path: Path) -> None:
    """Its trace and its empty folder, outside of ours, go with it; what is not empty stays."""
    trace, empty, full = (tmp_path / name for name in ("trace", "empty", "full"))
    behind = (str(trace), str(empty), str(full))
    lab.monkeypatch.setattr(spdk_host, "left_behind", lambda *_: behind)
    target = lab.start(_spec("spdk-nvmf-tgt"))
    for folder in (empty, full):
        folder.mkdir()
    for file in (trace, full / "another's"):
        file.touch()
    os.kill(target.process.pid, 9)
    processes.wait(target.process, deadline_s=5)
    again = running.load_target(lab.directory, "target-1")
    assert again is not None
    again.stop()
    assert [path.exists() for path in (trace, empty, full)] == [False, False, True]


def test_vhost_makes_a_controller_for_each_export(lab: Lab) -> None:
    """Malloc bdevs count into the target's memory; the sockets lie in vhost's folder."""
    spec = _spec("spdk-vhost", backend={"kind": "bdev_malloc", "size_mib": 100})
    target = lab.start(spec)
    assert [call for call in lab.calls() if "create" in call[0]] == [
        ["bdev_malloc_create", {"name": "bdev0", "num_blocks": 204800, "block_size": 512}],
        ["vhost_create_blk_controller", {"ctrlr": "disk", "dev_name": "bdev0"}],
    ]
    argv = target.argv
    assert argv[argv.index("-s") + 1] == "612"
    assert argv[argv.index("-m") + 1] == f"[{max(os.sched_getaffinity(0))}]"
    assert "--disable-cpumask-locks" in argv
    target.stop()
    assert lab.left() == []


def test_cores_are_given_as_a_list(lab: Lab) -> None:
    """Asked-for CPUs are the reactors' cores, and are locked against other SPDK targets."""
    words = spdk_target._core_arguments({"cpus": "2-3,8"})
    assert words == ["-m", "[2,3,8]"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("dies", r"spdk-nvmf-tgt ended with exit status 1 before it was ready: EAL: No free"),
        (
            "nvmf_subsystem_add_listener",
            (
                r"nvmf_subsystem_add_listener: refused: Invalid parameters \(code -32602\); "
                r"its log ends: (.|\n)*vfio_user\.c: something is wrong"
            ),
        ),
    ],
)
def test_an_error_of_spdk_carries_the_end_of_its_log(lab: Lab, wish: str, said: str) -> None:
    """Codes are coarse, the log is not; and the target does not stay behind."""
    with pytest.raises(TargetError, match=said):
        lab.start(_spec("spdk-nvmf-tgt"), wish)
    assert lab.left() == []


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        (_spec("nfs"), BadInputError, "target target-1: kind 'nfs': wanted one of qemu-storage"),
        ({**_spec(), "exports": []}, BadInputError, "no exports"),
        (_spec("spdk-vhost", "a", "a"), BadInputError, "two exports of one name"),
        (_spec(transport="vfio-user"), BadInputError, "cannot serve transport 'vfio-user'"),
        (
            _spec("spdk-vhost", backend={"kind": "ram", "size_mib": 1}),
            BadInputError,
            "SPDK has no backend 'ram'; wanted one of bdev_null, bdev_malloc, bdev_nvme",
        ),
        (
            _spec(backend={"kind": "ram", "size_mib": 1 << 40}),
            BackendError,
            "target-1-disk: a RAM backend",
        ),
    ],
)
def test_a_wrong_specification_leaves_nothing(
    lab: Lab, spec: dict[str, Any], error: type[NvmelabError], said: str
) -> None:
    """What cannot be meant is refused with what was wanted."""
    lab.capabilities["qemu_storage_daemon"] = {"path": "/q", "exports": ["vhost-user-blk"]}
    with pytest.raises(error, match=said):
        lab.start(spec)
    assert lab.left() == []


NO_SPDK = (
    "target-1: no SPDK {} was found; next: name spdk in nvmelab_builds, or an SPDK build in "
    "capabilities_spdk_directory (in role storage_target: storage_target_spdk_directory), or leave "
    "out the stacks that need it"
)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("qemu-storage-daemon", "exports vhost-user-blk: it is not installed"),
        ("spdk-nvmf-tgt", f"^{re.escape(NO_SPDK.format('nvmf_tgt'))}$"),
        ("spdk-vhost", f"^{re.escape(NO_SPDK.format('vhost'))}$"),
    ],
)
def test_a_program_that_is_not_there_is_named(lab: Lab, kind: str, said: str) -> None:
    """The next step is in the message."""
    lab.capabilities = {"qemu_storage_daemon": None, "spdk": {"nvmf_tgt": None, "vhost": None}}
    with pytest.raises(TargetError, match=said):
        lab.start(_spec(kind))


def test_a_crash_on_stop_is_a_remark(lab: Lab) -> None:
    """SPDK that segfaults when it is asked to end is told, and all is cleared away as ever."""
    remark = lab.start(_spec("spdk-nvmf-tgt"), "segfaults").stop()
    assert remark is not None
    assert "spdk-nvmf-tgt was killed by SIGSEGV when it was asked to end" in remark
    assert lab.left() == []
    assert lab.start(_spec("spdk-nvmf-tgt")).stop() is None


@pytest.fixture
def machine(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePci:
    """The lab host's NVMe devices; its processes are not this machine's."""
    made = FakePci(tmp_path / "system", partitions=False).install(monkeypatch)
    monkeypatch.setattr(nvme_taking, "SYSTEM", made.root)
    return made


REAL = {"kind": "bdev_nvme", "bdf": FIRST}


@pytest.mark.parametrize("ending", ["stop", "crash", "another session"])
def test_a_real_device_is_taken_and_given_back(lab: Lab, machine: FakePci, ending: str) -> None:
    """SPDK's from the target's start to its end, however it ends and whoever clears away."""
    start = machine.picture()
    target = lab.start(_spec("spdk-nvmf-tgt", backend=REAL))
    assert machine.picture()[FIRST].startswith("uio_pci_generic")
    calls = dict(map(tuple, lab.calls()))  # type: ignore[arg-type]
    attached = {"name": "bdev0", "trtype": "PCIe", "traddr": FIRST}
    assert calls["bdev_nvme_attach_controller"] == attached
    if ending != "stop":
        os.kill(target.process.pid, 9)
        processes.wait(target.process, deadline_s=5)
        assert machine.picture() != start
    if ending == "another session":
        found = running.load_target(lab.directory, "target-1")
        assert found is not None
        target = found
    assert target.stop() is None
    assert machine.picture() == start
    assert lab.left() == []


@pytest.mark.parametrize("wish", ["dies", "bdev_nvme_attach_controller"])
def test_a_target_that_does_not_start_leaves_the_device(
    lab: Lab, machine: FakePci, wish: str
) -> None:
    """Before it is ready, or when SPDK refuses the device: the kernel has it again."""
    start = machine.picture()
    with pytest.raises(TargetError):
        lab.start(_spec("spdk-nvmf-tgt", backend=REAL), wish)
    assert machine.writes
    assert machine.picture() == start
    assert lab.left() == []


def test_a_device_that_is_not_given_back_is_a_remark(lab: Lab, machine: FakePci) -> None:
    """All else is cleared away; the record stays for whoever comes next."""
    target = lab.start(_spec("spdk-nvmf-tgt", backend=REAL))
    machine.fail_at = set(range(len(machine.writes), 100))
    remark = target.stop()
    assert remark is not None
    assert remark.startswith(f"target-1: not given back: {FIRST}: not bound to nvme")
    assert lab.left() == [str(lab.directory / nvme_taking.RECORD)]


def test_a_namespace_that_the_device_lacks(lab: Lab, machine: FakePci) -> None:
    """Told with those that it has, and the device is given back."""
    start = machine.picture()
    with pytest.raises(TargetError, match="no bdev bdev0n7; there are bdev0n1"):
        lab.start(_spec("spdk-nvmf-tgt", backend={**REAL, "nsid": 7}))
    assert machine.picture() == start


def test_a_target_that_sleeps(lab: Lab) -> None:
    """Interrupt mode is an argument of the program and of its transport."""
    target = lab.start({**_spec("spdk-nvmf-tgt"), "interrupt_mode": True})
    assert "--interrupt-mode" in target.argv
    assert '"disable_mappable_bar0": true' in Path(target.process.log).read_text()
    target.stop()


def test_a_living_socket_in_our_folder_is_not_taken_over(lab: Lab) -> None:
    """Another target of the same name that still runs keeps its sockets, and is named."""
    target = lab.start(_spec("spdk-nvmf-tgt"))
    with pytest.raises(NvmelabError, match=rf"cntrl is in use by .*pid {target.process.pid}"):
        lab.start(_spec("spdk-nvmf-tgt"))
    target.check()
    target.stop()


LACKS = {
    "no hugepages": (0, "2M", r"target-1: SPDK needs 512 MiB of hugepages, 0 MiB are free"),
    "too few hugepages": (255, "2M", r"target-1: SPDK needs 512 MiB of hugepages, 510 MiB are"),
    "no mount": (256, None, r"target-1: 512 MiB of hugepages are free, but no hugetlbfs is mount"),
}


@pytest.mark.parametrize("lack", LACKS)
def test_a_host_without_hugepages_starts_no_target(lab: Lab, lack: str) -> None:
    """Told before anything is started or written; SPDK itself would take a minute to say less."""
    free, mounted, said = LACKS[lack]
    lab.host.pages(free)
    lab.host.mounted(mounted)
    with pytest.raises(TargetError, match=said):
        lab.start(_spec("spdk-nvmf-tgt"))
    assert processes.recorded(lab.directory / "processes") == []
    assert lab.left() == []
    assert not (lab.directory / "logs").exists()
    lab.start({**_spec("spdk-nvmf-tgt"), "hugepages": False}).stop()


def test_a_core_that_is_taken_starts_no_target(lab: Lab) -> None:
    """Told with whose it is; a target that shares its cores by order may start beside it."""
    spec = {**_spec("spdk-nvmf-tgt"), "cpus": "1"}
    with (
        lab.host.claimed(1) as pid,
        pytest.raises(TargetError, match=rf"target-1: CPU 1 is claimed by .*\(pid {pid}\)"),
    ):
        lab.start(spec)
    assert processes.recorded(lab.directory / "processes") == []
    assert lab.left() == []
    with lab.host.claimed(1):
        lab.start({**spec, "shares_cores": True}).stop()
    with pytest.raises(BadInputError, match=r"target-1: cpus 4: the host has CPUs 0-3"):
        lab.start({**spec, "cpus": "4"})


@pytest.mark.parametrize("lack", LACKS)
def test_a_host_without_hugepages_gets_no_bdev(lab: Lab, machine: FakePci, lack: str) -> None:
    """Its program wants them, too: no file is written, and no device is taken from the kernel."""
    _, mounted, said = LACKS[lack]
    lab.host.pages({"no hugepages": 0, "too few hugepages": 127, "no mount": 128}[lack])
    lab.host.mounted(mounted)
    said = said.replace("512 MiB", "256 MiB").replace("510", "254")
    before = machine.picture()
    with pytest.raises(TargetError, match=said):
        spdk_bdev_file.write(REAL, name="target-1", directory=lab.directory)
    assert machine.picture() == before
    assert lab.left() == []


def test_a_bdev_in_memory_counts_into_the_hugepages(lab: Lab) -> None:
    """What the bdev holds comes on top of what its program takes."""
    lab.host.pages(132)
    backend = {"kind": "bdev_malloc", "size_mib": 8}
    spdk_bdev_file.write(backend, name="bdev", directory=lab.directory).unlink()
    with pytest.raises(TargetError, match=r"bdev: SPDK needs 265 MiB of hugepages, 264 MiB are"):
        spdk_bdev_file.write({**backend, "size_mib": 9}, name="bdev", directory=lab.directory)
