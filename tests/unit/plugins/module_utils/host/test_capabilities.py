# SPDX-License-Identifier: GPL-3.0-or-later
"""Capabilities are what the binaries answer, asked again only when one has changed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from lab_fakes import lab_image, program
from run_fakes import launching

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import accelerator, capabilities
from ansible_collections.nvmelab.bench.plugins.module_utils.host.qemu_probe import (
    ProbeError,
    probe_qemu,
    probe_storage_daemon,
)

QEMU, QSD = shutil.which("qemu-system-x86_64"), shutil.which("qemu-storage-daemon")
needs_qemu = pytest.mark.skipif(not (QEMU and QSD), reason="QEMU is not installed")
FIO = """
import sys
open(__file__ + ".calls", "a").write("x")
print("fio-9.9" if "--version" in sys.argv else "Available IO engines:\\n\\tnull\\n\\tlibaio")
"""


@pytest.fixture
def bin_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, with a fake fio in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder / "fio", FIO)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _probe(tmp_path: Path, **options: Any) -> dict[str, Any]:
    return capabilities.probe(tmp_path / "lab", wanted_accelerator="tcg", **options)


def test_a_bare_host_has_nulls_and_no_guesses(tmp_path: Path, bin_directory: Path) -> None:
    """What is not there is null; what is there is as it answered."""
    found = _probe(tmp_path)
    assert found["fio"] == {
        "path": str(bin_directory / "fio"),
        "version": "9.9",
        "engines": ["libaio", "null"],
    }
    assert [found[key] for key in ("qemu", "qemu_storage_daemon", "guest_image")] == [None] * 3
    assert set(found["spdk"]) >= {"nvmf_tgt", "vhost", "bdevperf", "fio_plugin", "version"}
    assert set(found["spdk"].values()) == {None}
    assert found["accelerator"]["name"] == "tcg"
    assert found["cpu_count"] == len(os.sched_getaffinity(0))
    assert json.loads(json.dumps(found)) == found


def test_only_a_changed_program_is_asked_again(tmp_path: Path, bin_directory: Path) -> None:
    """The same path, time and size is the same answer; another time is asked."""
    fio = bin_directory / "fio"
    calls = bin_directory / "fio.calls"
    assert _probe(tmp_path) == _probe(tmp_path)
    asked = len(calls.read_text())
    os.utime(fio, ns=(1, 1))
    _probe(tmp_path)
    assert len(calls.read_text()) == 2 * asked


@pytest.mark.parametrize("kept", ["{", "[]", '{"schema_version": 99, "answers": {}}'])
def test_a_cache_that_is_no_cache_is_made_anew(
    tmp_path: Path, bin_directory: Path, kept: str
) -> None:
    """A torn or foreign cache costs time, never an answer."""
    cache = tmp_path / "lab" / "cache" / "capabilities.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(kept)
    assert _probe(tmp_path)["fio"]["version"] == "9.9"
    assert json.loads(cache.read_text())["schema_version"] == 1


@pytest.mark.parametrize("option", ["qemu_path", "spdk_directory", "fio_path"])
def test_a_path_that_leads_nowhere_is_refused(
    tmp_path: Path, bin_directory: Path, option: str
) -> None:
    """What was named must be there: no silent fall back to PATH."""
    with pytest.raises(BadInputError, match=f"{option} /nonexistent"):
        _probe(tmp_path, **{option: "/nonexistent"})


def test_a_fio_that_was_named_is_taken_and_its_build_recorded(
    tmp_path: Path, bin_directory: Path
) -> None:
    """Not that on PATH; and the set of pins stands beside the build, nowhere else."""
    prefix = tmp_path / "lab" / "builds" / "fio" / "3.40-0a1b2c3d4e5f"
    (prefix / "bin").mkdir(parents=True)
    program(prefix / "bin" / "fio", FIO.replace("9.9", "3.40"))
    stamp = {
        "schema_version": 1, "name": "fio", "version": "3.40", "digest": "0a1b2c3d4e5f",
        "prefix": str(prefix), "inputs": {}, "submodules": [],
        "source": {"url": "https://hub.example/fio", "ref": "fio-3.40", "commit": "a" * 40},
    }  # fmt: skip
    (prefix / "build.json").write_text(json.dumps(stamp))
    assert _probe(tmp_path, pins="current")["builds"] is None
    found = _probe(tmp_path, fio_path=str(prefix / "bin" / "fio"), pins="current")
    assert found["fio"]["version"] == "3.40"
    assert found["builds"]["pins"] == "current"
    assert found["builds"]["products"]["fio"]["commit"] == "a" * 40


def test_a_binary_that_is_not_what_it_is_called_is_named(
    tmp_path: Path, bin_directory: Path
) -> None:
    """A fio that is none, or a QEMU that speaks no QMP, is an error that quotes it."""
    program(bin_directory / "fio", "print('sorry')")
    with pytest.raises(ProbeError, match=r"fio: not fio: --version printed 'sorry'"):
        _probe(tmp_path)
    program(bin_directory / "fio", FIO)
    program(bin_directory / "qemu-system-x86_64", "print('sorry')")
    with pytest.raises(ProbeError, match=r"no QMP answer .*sorry"):
        _probe(tmp_path)


def test_spdk_is_found_in_its_build_and_asked_its_version(
    tmp_path: Path, bin_directory: Path
) -> None:
    """A source tree is given; its programs lie in build/bin."""
    build = tmp_path / "spdk" / "build" / "bin"
    build.mkdir(parents=True)
    for name in ("nvmf_tgt", "vhost"):
        program(build / name, "print('SPDK v25.05 git sha1 665a10525b')")
    clients = dict.fromkeys(("bdevperf", "spdk_nvme_perf", "fio_plugin"))
    assert _probe(tmp_path, spdk_directory=str(tmp_path / "spdk"))["spdk"] == {
        "nvmf_tgt": str(build / "nvmf_tgt"),
        "vhost": str(build / "vhost"),
        "version": "25.05",
        **clients,
    }


@pytest.mark.qemu
@needs_qemu
def test_qemu_has_what_its_help_says_and_nothing_else() -> None:
    """The answer over QMP is that of another witness, `-device help` and `-device X,help`."""
    found = probe_qemu(str(QEMU))
    listed = capabilities.run([str(QEMU), "-device", "help"])
    for model in ("nvme", "virtio-blk-pci", "vhost-user-blk-pci", "vfio-user-pci"):
        assert (model in found["devices"]) == (f'name "{model}"' in listed)
    helped = capabilities.run([str(QEMU), "-device", "nvme,help"])
    properties = {line.split("=")[0].strip() for line in helped.splitlines() if "=<" in line}
    assert set(found["devices"]["nvme"]) == properties
    assert {"null-co", "file", "raw"} <= set(found["block_drivers"])
    assert {"iothread", "memory-backend-memfd"} <= set(found["objects"])
    assert "tcg" in found["accelerators"]
    assert found["version"] in capabilities.run([str(QEMU), "--version"])


@pytest.mark.qemu
@needs_qemu
def test_the_storage_daemon_has_made_an_export() -> None:
    """vhost-user-blk counts because one was made."""
    found = probe_storage_daemon(str(QSD))
    assert "vhost-user-blk" in found["exports"]
    assert found["version"] in capabilities.run([str(QSD), "--version"])


class Kvm:
    """A lab host on which booting under KVM goes as a test wants, and is counted."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root / "lab"
        self.image = lab_image(self.root)
        self.qemu = {"path": program(root / "qemu", ""), "accelerators": ["kvm", "tcg"]}
        self.boots = 0
        self.error: Exception | None = None
        device = root / "kvm"
        device.touch()
        monkeypatch.setattr(accelerator, "_KVM", str(device))
        monkeypatch.setattr(accelerator, "launch_guest", launching(self._start))

    def _start(self, *_: object, accelerator: str, **__: object) -> Kvm:
        assert accelerator == "kvm"
        self.boots += 1
        if self.error:
            raise self.error
        return self

    boot_s = 2.5

    def stop(self) -> None:
        """End the guest."""
        self.boots += 100

    def choose(self, wanted: str = "auto", **options: Any) -> dict[str, Any]:
        """Choose the accelerator."""
        known = {"qemu": self.qemu, "image": self.image, **options}
        return accelerator.choose(self.root, wanted=wanted, **known)


@pytest.fixture
def kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kvm:
    """A lab host with /dev/kvm."""
    return Kvm(tmp_path, monkeypatch)


def test_kvm_counts_when_a_guest_has_booted_and_is_tried_once(kvm: Kvm) -> None:
    """The guest is stopped again, and the answer kept with how it was proven."""
    found = kvm.choose()
    assert found["name"] == "kvm"
    assert found["kvm_usable"] is True
    assert "2.5 s after its start" in found["reason"]
    assert kvm.choose() == found
    assert kvm.boots == 101


def test_a_guest_that_hangs_under_kvm_makes_it_tcg_with_what_was_seen(kvm: Kvm) -> None:
    """An openable /dev/kvm proves nothing; the failure is kept as well."""
    kvm.error = accelerator.AcceleratorError("probe: waited 20 s in vain; QEMU runs; log: x")
    found = kvm.choose()
    assert (found["name"], found["kvm_usable"]) == ("tcg", False)
    assert found["reason"].startswith("a guest under KVM ended after 0.")
    assert found["details"] == "waited 20 s in vain; QEMU runs; log: x"
    assert kvm.choose() == found
    assert kvm.boots == 1


def test_a_guest_that_says_nothing_until_the_deadline_was_silent(kvm: Kvm) -> None:
    """The reason is one clause that can stand beside a number."""
    kvm.error = accelerator.AcceleratorError("waited")
    found = kvm.choose(deadline_s=0)
    assert found["reason"] == "a guest under KVM was silent for 0 s"


def test_another_kernel_qemu_or_deadline_is_tried_again(kvm: Kvm) -> None:
    """What the answer depends on makes it void."""
    kvm.choose()
    Path(kvm.image["kernel"]).write_bytes(b"another")
    kvm.choose()
    os.utime(kvm.qemu["path"], ns=(1, 1))
    kvm.choose()
    kvm.choose(deadline_s=60)
    assert kvm.boots % 100 == 4


def test_what_is_seen_at_once_boots_nothing(
    kvm: Kvm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No device, no right to it, no KVM in QEMU, no image: each with its own reason."""
    assert "built without KVM" in kvm.choose(qemu={**kvm.qemu, "accelerators": ["tcg"]})["reason"]
    without_image = kvm.choose(image=None)
    assert without_image["kvm_usable"] is None
    assert "no guest image yet" in without_image["reason"]
    assert kvm.choose(qemu=None)["reason"] == "no QEMU was found"
    monkeypatch.setattr(accelerator, "_KVM", str(tmp_path))
    assert "cannot be opened: Is a directory" in kvm.choose()["reason"]
    monkeypatch.setattr(accelerator, "_KVM", str(tmp_path / "none"))
    assert "does not exist" in kvm.choose()["reason"]
    assert kvm.choose("tcg")["kvm_usable"] is None
    assert kvm.boots == 0


def test_kvm_demanded_and_not_usable_is_an_error(
    kvm: Kvm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who asks for KVM does not get TCG unsaid."""
    assert kvm.choose("kvm")["name"] == "kvm"
    monkeypatch.setattr(accelerator, "_KVM", str(tmp_path / "none"))
    with pytest.raises(accelerator.AcceleratorError, match=r"kvm was asked for, but: .*not exist"):
        kvm.choose("kvm")
