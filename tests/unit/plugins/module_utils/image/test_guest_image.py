# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking for a guest image: found by its inputs, made once, refused early, never half there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image import guest_image
from ansible_collections.nvmelab.bench.plugins.module_utils.image import store as image_store
from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_image import (
    DebianImage,
    DebianImageError,
    parse_fio,
    pci_drivers,
    take_kernel,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.guest_image import (
    GuestImageError,
    digest,
    ensure,
    summary,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import (
    LabKeys,
    lab_keys,
    make,
)

DEBIAN = DebianImage("bookworm", ("pciutils",), "linux-image-cloud-amd64", 2048)


@dataclasses.dataclass
class Fake:
    """A source that makes a tiny image and counts how often; faced like the real ones."""

    word: str = "one"
    failure: Exception | None = None
    needed_mib: int = 1
    made: int = 0
    tools: ClassVar[dict[str, str]] = {"sh": "dash"}

    def check(self) -> None:
        """Fine."""

    def inputs(self, _keys: LabKeys) -> dict[str, Any]:
        """One word decides."""
        return {"word": self.word}

    def make(self, _keys: LabKeys, work: Path, _lock: int) -> dict[str, Any]:
        """Write the files, or fail."""
        self.made += 1
        (work / "build.log").write_text("log\n")
        if self.failure:
            raise self.failure
        (work / "disk.raw").write_text("disk")
        (work / "kernel").write_text("kernel")
        return {"boot": "direct", "kernel": "kernel", "initrd": None}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab directory with its keys, on a host where we are root."""
    make(lab_keys(tmp_path))
    monkeypatch.setattr(guest_image.os, "geteuid", lambda: 0)
    return tmp_path


def test_drivers_for_programs_are_found_as_modules_or_built_in(tmp_path: Path) -> None:
    """By name, whatever packs the modules; what only resembles one is none."""
    folder = tmp_path / "lib/modules/6.1"
    folder.mkdir(parents=True)
    dep = "kernel/drivers/uio/uio_pci_generic.ko.xz: kernel/drivers/uio/uio.ko.xz\n"
    (folder / "modules.dep").write_text(dep + "kernel/x/uio_pci_generic2.ko:\n")
    assert pci_drivers(tmp_path, "6.1") == ["uio_pci_generic"]
    (folder / "modules.builtin").write_text("kernel/drivers/vfio/pci/vfio-pci.ko\n")
    assert pci_drivers(tmp_path, "6.1") == ["uio_pci_generic", "vfio-pci"]
    assert pci_drivers(tmp_path, "6.2") == []


def test_an_equal_wish_is_made_once(root: Path) -> None:
    """The first call makes it, the second finds it and changes nothing."""
    source = Fake()
    first, second = ensure(root, "a", source), ensure(root, "a", source)
    assert (first.changed, first.built, second.changed, second.built) == (True, True, False, False)
    assert source.made == 1
    assert first.image == second.image
    assert first.image is not None
    assert Path(first.image["kernel"]).read_text() == "kernel"
    assert image_store.current_image(root) == first.image


def test_going_back_to_an_older_image_changes_only_the_link(root: Path) -> None:
    """An image that is there but not current is chosen, not made again; that is a change."""
    one, two = Fake("one"), Fake("two")
    ensure(root, "a", one)
    ensure(root, "a", two)
    back = ensure(root, "a", one)
    assert (back.changed, back.built, one.made) == (True, False, 1)


def test_check_mode_on_a_fresh_host(tmp_path: Path) -> None:
    """Neither keys nor folder nor tools are there: it tells a change and makes nothing."""
    outcome = ensure(tmp_path / "none", "a", DEBIAN, check_mode=True)
    assert (outcome.changed, outcome.image) == (True, None)
    assert not (tmp_path / "none").exists()


def test_check_mode_tells_the_truth(root: Path) -> None:
    """What check mode foretells is what the call then does, before and after."""
    source = Fake()
    for _ in range(2):
        foretold = ensure(root, "a", source, check_mode=True).changed
        assert ensure(root, "a", source).changed == foretold
    assert source.made == 1


def test_a_failed_build_leaves_no_image(root: Path) -> None:
    """The error passes through with the log's place; the next call tries again."""
    failing = Fake(failure=NvmelabError("mmdebstrap ended with status 25"))
    with pytest.raises(NvmelabError, match=r"status 25 \(log: .*failed\.log\)"):
        ensure(root, "a", failing)
    left = sorted(path.suffix for path in image_store.images_directory(root).iterdir())
    assert left == ["", ".log"]
    failing.failure = None
    assert ensure(root, "a", failing).built


def test_a_full_disk_is_told_not_thrown(root: Path) -> None:
    """An OSError in the middle becomes a message with the file and the cause."""
    full = Fake(failure=OSError(28, "No space left on device", "/lab/disk.raw"))
    with pytest.raises(GuestImageError, match=r"/lab/disk\.raw: No space left on device"):
        ensure(root, "a", full)


def test_too_little_space_is_refused_before_a_build(root: Path) -> None:
    """Found and wanted are in the message, and nothing was begun."""
    greedy = Fake(needed_mib=1 << 40)
    with pytest.raises(GuestImageError, match=rf"MiB free, {1 << 40} MiB wanted"):
        ensure(root, "a", greedy)
    assert greedy.made == 0


def test_missing_tools_are_named_with_their_packages(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that lack are named at once, with the command that installs them."""
    monkeypatch.setattr(Fake, "tools", {"no-such-a": "pkg-a", "sh": "dash", "no-such-b": "pkg-b"})
    with pytest.raises(GuestImageError, match=r"no-such-a, no-such-b: .*install pkg-a pkg-b"):
        ensure(root, "a", Fake())


def test_not_root_is_told_how_to_become_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names Ansible's words for it."""
    monkeypatch.setattr(guest_image.os, "geteuid", lambda: 1000)
    with pytest.raises(GuestImageError, match="become"):
        ensure(root, "a", Fake())


def test_without_keys_the_module_that_makes_them_is_named(tmp_path: Path) -> None:
    """An image without the lab's key could not be entered."""
    with pytest.raises(GuestImageError, match="lab_keys"):
        ensure(tmp_path, "a", Fake())


@pytest.mark.parametrize("name", ["", "../x", "A", ".hidden", "a b"])
def test_names_that_are_no_folder_s_are_refused(tmp_path: Path, name: str) -> None:
    """Before anything is touched."""
    with pytest.raises(BadInputError, match="guest_image name"):
        ensure(tmp_path, name, Fake())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [{"suite": "Bookworm!"}, {"packages": ("fio", "-o Dir=/")}, {"kernel_package": ""}]
)
def test_words_that_would_be_options_are_refused(words: dict[str, Any]) -> None:
    """A package name never reaches mmdebstrap as an option or with a space."""
    with pytest.raises(BadInputError, match="guest_image"):
        dataclasses.replace(DEBIAN, **words).check()


CHANGES: list[dict[str, Any]] = [
    {"suite": "trixie"},
    {"packages": ("pciutils", "blktrace")},
    {"kernel_package": "linux-image-amd64"},
    {"size_mib": 4096},
    {"archive_url": "http://snapshot.example.org/debian/20260101T000000Z"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_input_tells_images_apart(root: Path, change: dict[str, Any]) -> None:
    """Whatever alters the image alters its digest."""
    keys = lab_keys(root)
    other = dataclasses.replace(DEBIAN, **change)
    assert digest(other.inputs(keys)) != digest(DEBIAN.inputs(keys))


def test_new_keys_make_a_new_image(root: Path, tmp_path: Path) -> None:
    """An image of another lab's keys is another image."""
    others = lab_keys(tmp_path / "other")
    make(others)
    assert digest(DEBIAN.inputs(lab_keys(root))) != digest(DEBIAN.inputs(others))


def test_order_and_repetition_of_packages_do_not_matter(root: Path) -> None:
    """The same set of packages is the same image."""
    keys = lab_keys(root)
    same = dataclasses.replace(DEBIAN, packages=("fio", "pciutils", "pciutils"))
    assert same.inputs(keys) == DEBIAN.inputs(keys)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text())))
def test_a_digest_is_of_the_content(inputs: dict[str, Any]) -> None:
    """It does not depend on the order of the keys."""
    turned = dict(reversed(list(inputs.items())))
    assert digest(turned) == digest(inputs)


def test_fio_is_asked_not_assumed() -> None:
    """Version and engines come from what fio prints; headings are no engines."""
    help_text = "Available IO engines:\n\tcpuio\n\tlibaio\n\tnull\n"
    assert parse_fio("fio-3.33\n", help_text) == {
        "fio_version": "3.33",
        "fio_engines": ["cpuio", "libaio", "null"],
    }


def test_the_kernel_moves_out_with_its_initrd(tmp_path: Path) -> None:
    """The kernel's release is in its name; an initrd is taken along when there is one."""
    boot = tmp_path / "root" / "boot"
    boot.mkdir(parents=True)
    (boot / "vmlinuz-6.1.0-9-cloud-amd64").write_text("k")
    assert take_kernel(tmp_path / "root", tmp_path) == {
        "kernel": "kernel",
        "initrd": None,
        "kernel_release": "6.1.0-9-cloud-amd64",
    }
    (boot / "vmlinuz-6.12").write_text("k")
    (boot / "initrd.img-6.12").write_text("i")
    assert take_kernel(tmp_path / "root", tmp_path)["initrd"] == "initrd"
    assert list(boot.iterdir()) == []


@pytest.mark.parametrize("names", [[], ["vmlinuz-6.1", "vmlinuz-6.2"]])
def test_none_or_two_kernels_are_refused(tmp_path: Path, names: list[str]) -> None:
    """Which kernel a run uses is never a guess."""
    boot = tmp_path / "root" / "boot"
    boot.mkdir(parents=True)
    for name in names:
        (boot / name).write_text("k")
    with pytest.raises(DebianImageError, match="wanted one kernel"):
        take_kernel(tmp_path / "root", tmp_path)


def test_a_result_leaves_out_the_long_parts() -> None:
    """The package list stays in image.json; no image is no summary."""
    assert summary({"name": "a", "packages": {}, "inputs": {}}) == {"name": "a"}
    assert summary(None) is None
