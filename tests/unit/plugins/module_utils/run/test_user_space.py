# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's devices for programs: the sources that travel, what they do there, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_pci import FIRST, NETWORK, SECOND, FakePci
from lab_fakes import device, guest_spec, program

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    guest_payload,
    guest_python,
    guest_setup,
    user_space,
)

UIO = "uio_pci_generic"
PAGES = "sys/kernel/mm/hugepages/hugepages-2048kB"
READ = {"ioengine": "xnvme"}


class LocalShell:
    """Stands for the guest's ssh: the shell of this machine."""

    def argv(self, command: Any) -> list[str]:
        """The command, with this Python in place of the guest's."""
        words = command if isinstance(command, str) else subprocess.list2cmdline(command)
        return ["sh", "-c", words.replace("python3", sys.executable)]


@dataclass
class Guest:
    """A guest whose answers are given; ``asked`` are the wishes that reached it."""

    answers: list[Any]
    asked: list[Any] = field(default_factory=list)
    deadlines_s: list[float] = field(default_factory=list)
    name: str = "guest-1"
    paused: bool = False
    alive: bool = True
    ssh: Any = None

    def device_address(self, name: str) -> str:
        """As the slots have it."""
        return {"one": FIRST, "two": SECOND, "plain": "0000:00:12.0"}[name]

    def check(self) -> None:
        """It lives, or not."""
        if not self.alive:
            raise NvmelabError("guest-1: QEMU was killed")

    def call(self, _ssh: Any, wish: Any, *, deadline_s: float) -> Any:
        """What replaces guest_python.call."""
        assert deadline_s > 0
        self.asked.append(wish)
        self.deadlines_s.append(deadline_s)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


SPEC = guest_spec(
    device("one", driver=UIO), device("two", 17, driver=UIO), device("plain", 18),
    memory_mib=2048, hugepages_2m=512,
)  # fmt: skip
BEFORE = {FIRST: {"driver": "nvme", "override": None}}
TAKEN = {"before": BEFORE, "refused": {}, "hugepages_free": 512, "not_mounted": None}


def taken(
    monkeypatch: pytest.MonkeyPatch, *answers: Any, spec: Any = SPEC
) -> tuple[user_space.UserSpaceDevices, Guest]:
    """The devices after the guest was asked, and the guest."""
    guest = Guest(list(answers))
    monkeypatch.setattr(guest_python, "call", guest.call)
    devices = user_space.UserSpaceDevices(guest, spec)  # type: ignore[arg-type]
    devices.take()
    return devices, guest


def test_the_sources_run_in_a_bare_python() -> None:
    """Python without this collection: the modules travel, and an address is refused there."""
    answer = guest_python.call(
        LocalShell(), {"drivers": {"0000:ff:1f.7": UIO}}, deadline_s=60  # type: ignore[arg-type]
    )  # fmt: skip
    assert answer["before"] == {}
    assert answer["hugepages_free"] is None
    assert answer["refused"]["0000:ff:1f.7"].startswith("0000:ff:1f.7: no such PCI device")


def test_the_sources_are_those_of_all_that_is_imported() -> None:
    """Each after what it imports, found through its own imports; no package, no typing's."""
    names = [name.rpartition("module_utils.")[2] for name, _ in guest_python.SOURCES]
    assert names[-1] == "run.guest_setup"
    assert names.index("errors") < names.index("pci.device") < names.index("pci.binding")
    assert {"pci", "run", "atomic_file"}.isdisjoint(names)
    assert len(set(names)) == len(names)


def test_what_goes_wrong_there_is_told_in_its_last_line() -> None:
    """An exception there, a silence there: errors here."""
    with pytest.raises(guest_python.GuestPythonError, match=r"^AttributeError: 'int'"):
        guest_python.call(LocalShell(), {"drivers": 5}, deadline_s=60)  # type: ignore[arg-type]
    slow = SimpleNamespace(argv=lambda _: ["sleep", "5"])
    with pytest.raises(guest_python.GuestPythonError, match="no answer within 0 s"):
        guest_python.call(slow, {}, deadline_s=0.05)  # type: ignore[arg-type]


def test_devices_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be bound does not keep the other; what was there comes back as ``back``."""
    machine = FakePci(tmp_path).install(monkeypatch)
    start = machine.picture()
    answer = guest_setup.main({"drivers": {NETWORK: UIO, FIRST: UIO}}, tmp_path)
    assert answer["before"] == BEFORE
    assert answer["refused"][NETWORK].startswith(f"{NETWORK}: found a device of PCI class")
    assert guest_setup.main({"back": answer["before"]}, tmp_path)["refused"] == {}
    assert machine.picture() == start


def test_pages_that_are_free_already_are_enough(tmp_path: Path) -> None:
    """Nothing is written then; a kernel that gives fewer is told as what it gives."""
    for name, text in (("free_hugepages", "600"), ("nr_hugepages", "700")):
        (tmp_path / PAGES).mkdir(parents=True, exist_ok=True)
        (tmp_path / PAGES / name).write_text(f"{text}\n")
    assert guest_setup.reserve(512, tmp_path) == 600
    assert (tmp_path / PAGES / "nr_hugepages").read_text() == "700\n"
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    assert guest_setup.reserve(650, tmp_path) == 600
    assert (tmp_path / PAGES / "nr_hugepages").read_text() == "750\n"
    assert (tmp_path / "proc/sys/vm/compact_memory").read_text() == "1\n"


MOUNT = "import pathlib, sys\npathlib.Path(sys.argv[0] + '.calls').write_text(sys.argv[-1])\n"
FAILS = (
    "print('mount: warning', file=sys.stderr)\nsys.exit('mount: /dev/hugepages: no such device.')"
)


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a guest with 4 free hugepages, none of them mounted; ``mount`` is a stand-in."""
    for name in ("free_hugepages", "nr_hugepages"):
        (tmp_path / PAGES).mkdir(parents=True, exist_ok=True)
        (tmp_path / PAGES / name).write_text("4\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mounts").write_text("proc /proc proc rw 0 0\n")
    program(tmp_path / "mount", MOUNT)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_pages_are_mounted_where_none_are(pages: Path) -> None:
    """SPDK finds pages by their mount; one that is there is taken, wherever it is."""
    calls = pages / "mount.calls"
    (pages / "proc/self/mounts").write_text("x /mnt/huge hugetlbfs rw,pagesize=2M 0 0\n")
    assert guest_setup.main({"hugepages_2m": 4}, pages)["not_mounted"] is None
    (pages / "proc/self/mounts").write_text("proc /proc proc rw 0 0\n")
    assert guest_setup.main({}, pages)["not_mounted"] is None
    assert not calls.exists()
    assert guest_setup.main({"hugepages_2m": 4}, pages)["not_mounted"] is None
    assert calls.read_text() == "/dev/hugepages"


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (FAILS, "mount: /dev/hugepages: no such device."),
        ("sys.exit(32)", "mount ended with status 32"),
    ],
)
def test_pages_that_cannot_be_mounted(pages: Path, fails: str, said: str) -> None:
    """Told in mount's own last line; else the first to notice would be fio, in other words."""
    program(pages / "mount", f"{MOUNT}{fails}\n")
    assert guest_setup.main({"hugepages_2m": 4}, pages)["not_mounted"] == said


def test_only_devices_with_a_programs_driver_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in one call; without any the guest is not asked."""
    answer = {**TAKEN, "refused": {SECOND: "in use"}}
    devices, guest = taken(monkeypatch, answer)
    assert guest.asked == [{"drivers": {FIRST: UIO, SECOND: UIO}, "hugepages_2m": 512}]
    one, two, plain = (devices.target(name, READ) for name in ("one", "two", "plain"))
    assert (one.node, one.refusal, one.sought_address) == ("address", None, None)
    assert two.refusal == "in use"
    assert (plain.node, plain.refusal, plain.sought_address) == ("block", None, "0000:00:12.0")
    _, guest = taken(monkeypatch, spec=guest_spec(device("plain", 18)))
    assert guest.asked == []


def test_too_few_pages_refuse_these_devices_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what there is, what is wanted, and the key to change."""
    answer = {**TAKEN, "refused": {SECOND: "in use"}, "hugepages_free": 400}
    devices, _ = taken(monkeypatch, answer)
    assert devices.target("one", READ).refusal == (
        "the guest has 400 free hugepages of 2 MiB, wanted 512; it has 2048 MiB of memory: set "
        "guest: memory_mib to 2048 or more"
    )
    assert devices.target("two", READ).refusal == "in use"
    assert devices.target("plain", READ).refusal is None


def test_pages_without_a_mount_refuse_these_devices_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused for another cause keeps that."""
    said = "mount: /dev/hugepages: unknown filesystem type 'hugetlbfs'."
    answer = {**TAKEN, "refused": {SECOND: "in use"}, "not_mounted": said}
    devices, _ = taken(monkeypatch, answer)
    assert devices.target("one", READ).refusal == f"no hugetlbfs in the guest: {said}"
    assert devices.target("two", READ).refusal == "in use"
    assert devices.target("plain", READ).refusal is None


def test_a_guest_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The points of these stacks fail with the cause; nothing is given back."""
    devices, guest = taken(monkeypatch, guest_python.GuestPythonError("no python3"))
    assert devices.target("one", READ).refusal == "not bound in the guest: no python3"
    assert devices.give_back() is None
    assert len(guest.asked) == 1


GIVEN_BACK = {"before": {}, "refused": {}, "hugepages_free": None}


@pytest.mark.parametrize(
    ("answer", "odd"),
    [
        (GIVEN_BACK, None),
        ({**GIVEN_BACK, "refused": {FIRST: "open in fio"}}, "open in fio"),
        (
            guest_python.GuestPythonError("no answer within 20 s"),
            "guest-1: devices not given back to the guest's kernel: no answer within 20 s",
        ),
    ],
)
def test_giving_back(monkeypatch: pytest.MonkeyPatch, answer: Any, odd: str | None) -> None:
    """What each had, once; what is odd is told."""
    devices, guest = taken(monkeypatch, TAKEN, answer)
    assert devices.give_back() == odd
    assert guest.asked[1:] == [{"back": BEFORE}]
    assert devices.give_back() is None


def test_giving_back_has_time_for_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel under TCG takes seconds for each: 24 at once would not be done in those of one."""
    had = {FIRST: BEFORE[FIRST], SECOND: BEFORE[FIRST]}
    spent_s = []
    for before in (BEFORE, had):
        devices, guest = taken(monkeypatch, {**TAKEN, "before": before}, GIVEN_BACK)
        devices.give_back()
        spent_s.append(guest.deadlines_s[-1])
    assert spent_s[1] - spent_s[0] == user_space.BACK_EACH_S


@pytest.mark.parametrize("state", [{"paused": True}, {"alive": False}], ids=str)
def test_a_guest_that_does_not_run_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, bool]
) -> None:
    """Its end must not wait for it."""
    devices, guest = taken(monkeypatch, TAKEN)
    for name, value in state.items():
        setattr(guest, name, value)
    assert devices.give_back() is None


def into(guest: Path) -> Any:
    """Stands for a guest's ssh: the root there is this folder."""
    return SimpleNamespace(argv=lambda words: [*words[:-1], f"--directory={guest}"])


def test_builds_come_to_the_same_path(tmp_path: Path) -> None:
    """What runs, with its links, and not what is only built with; here into a folder beside.

    The lab directory may lie below a folder that has such a name.
    """
    prefix = tmp_path / "share/[1] x.log/builds/fio"
    built_with = ("lib/libx.a", "lib/pkgconfig/x.pc", "include/x.h", "share/man/x", "build.log")
    for name in ("bin/fio", "lib/libx.so.0", *built_with):
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text(name)
    (prefix / "lib/libx.so").symlink_to("libx.so.0")
    guest = tmp_path / "guest"
    guest.mkdir()
    guest_payload.send({"paths": [str(prefix)]}, into(guest))
    there = guest / str(prefix).lstrip("/")
    found = sorted(str(path.relative_to(there)) for path in there.rglob("*") if not path.is_dir())
    assert found == ["bin/fio", "lib/libx.so", "lib/libx.so.0"]
    assert (there / "lib/libx.so").readlink() == Path("libx.so.0")


def test_the_tools_of_a_build_are_found_in_the_guest(tmp_path: Path) -> None:
    """By their names in its PATH; a program of the same name that it has is kept."""
    prefix, guest = tmp_path / "builds/upcie", tmp_path / "guest"
    for tool in (prefix / "bin/devbind", prefix / "bin/hugepages"):
        tool.parent.mkdir(parents=True, exist_ok=True)
        tool.write_text("")
    own = guest / "usr/local/bin/hugepages"
    own.parent.mkdir(parents=True)
    own.write_text("the guest's own")
    guest_payload.send({"paths": [str(prefix)]}, into(guest))
    assert (own.parent / "devbind").readlink() == prefix / "bin/devbind"
    assert own.read_text() == "the guest's own"


def test_a_program_comes_with_the_libraries_that_the_guest_lacks(tmp_path: Path) -> None:
    """Only where it is used; links with what they lead to; the guest's own are kept.

    Those of fio come always, as fio does.
    """
    host, guest = tmp_path / "host", tmp_path / "guest"
    own = guest / str(host / "lib/libown.so.1").lstrip("/")
    for path in (host / "perf", host / "lib/libown.so.1", host / "lib/libx.so.0.1.2", own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("guest's" if path == own else "host's")
    for name, leads_to in (("libx.so.0", "libx.so.0.1"), ("libx.so.0.1", "libx.so.0.1.2")):
        (host / "lib" / name).symlink_to(leads_to)
    libraries = [str(host / "lib" / name) for name in ("libx.so.0", "libown.so.1")]
    payload = {
        "paths": [],
        "programs": {"perf": {"path": str(host / "perf"), "libraries": libraries}},
    }
    guest_payload.send(payload, into(guest))
    there = own.parent.parent
    assert not (there / "perf").exists()
    assert not (there / "lib/libx.so.0").exists()
    fio = {"paths": [], "fio": {"libraries": libraries}, "programs": {}}
    (guest / "of-fio").mkdir()
    guest_payload.send(fio, into(guest / "of-fio"))
    assert (guest / "of-fio" / str(host / "lib/libx.so.0").lstrip("/")).read_text() == "host's"
    guest_payload.send(payload, into(guest), programs=["perf", "elsewhere"])
    assert (there / "perf").read_text() == "host's"
    assert (there / "lib/libx.so.0").read_text() == "host's"
    assert own.read_text() == "guest's"


@pytest.mark.parametrize(
    ("unpack", "said"), [("echo no space >&2; exit 2", "no space"), ("cat > /dev/null", "tar: ")]
)
def test_a_payload_that_does_not_arrive(tmp_path: Path, unpack: str, said: str) -> None:
    """What tar said last, be it that of the guest or that of the host, where a build is gone."""
    ssh = SimpleNamespace(argv=lambda _: ["sh", "-c", unpack])
    with pytest.raises(guest_payload.GuestPayloadError, match=said):
        guest_payload.send({"paths": [str(tmp_path / "gone")]}, ssh)  # type: ignore[arg-type]
