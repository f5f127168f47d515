# SPDX-License-Identifier: GPL-3.0-or-later
"""The knob irq_cpus: which interrupts it moves, which it leaves out, and what it says."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from fake_quiet import IRQ_DEFAULT, put_irq, put_unit
from fake_sysfs import FakeHost
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import format_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import irq
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpu_mask import parse_mask
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    KnobError,
    Reading,
)

KNOB = irq.IrqCpus()
LIST_24 = "proc/irq/24/smp_affinity_list"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """Four CPUs, interrupts 24 and 130, and a default."""
    fake = FakeHost(tmp_path)
    fake.put(IRQ_DEFAULT, "f")
    put_irq(fake, 130, "1-3")
    put_irq(fake, 24, "0-3")
    return fake.install(monkeypatch)


def test_interrupts_in_the_order_of_their_numbers(host: FakeHost) -> None:
    """The default first; a wish is a mask for it and a list for the others."""
    reading = KNOB.read(host.root)
    assert reading == Reading(
        {IRQ_DEFAULT: "f", LIST_24: "0-3", "proc/irq/130/smp_affinity_list": "1-3"}
    )
    assert list(KNOB.resolve("0-1", reading, host.root).items()) == [
        (IRQ_DEFAULT, "3"),
        (LIST_24, "0-1"),
        ("proc/irq/130/smp_affinity_list", "0-1"),
    ]
    assert KNOB.describe(reading.values) == "0-3 (2), 1-3 (1)"


def test_interrupts_that_stay_are_left_out_and_told(host: FakeHost) -> None:
    """The kernel makes their file read-only (since 6.13); the note says where they really go."""
    for number, cpus in ((40, "2-3"), (41, "3"), (42, "2-3")):
        put_irq(host, number, cpus, fixed=True)
    reading = KNOB.read(host.root)
    assert len(reading.values) == 3
    assert reading.note == "the kernel lets nobody move 3 interrupts (40-42), on CPUs 2-3"


def test_a_list_where_the_kernel_tells_no_effective_one(host: FakeHost) -> None:
    """Older kernels have no such file; the asked list is the best there is."""
    put_irq(host, 40, "2-3", fixed=True)
    (host.root / "proc/irq/40/effective_affinity_list").unlink()
    assert KNOB.read(host.root).note == "the kernel lets nobody move 1 interrupt (40), on CPUs 2-3"


def test_interrupts_that_have_not_moved_yet(host: FakeHost) -> None:
    """The kernel has taken the list; the one that is raised on no CPU of it is told."""
    host.put(LIST_24, "2-3")
    host.put("proc/irq/24/effective_affinity_list", "0")
    assert KNOB.read(host.root).note == "1 interrupt (24) will move when next raised"
    host.put("proc/irq/24/effective_affinity_list", "3")
    assert KNOB.read(host.root).note is None


@pytest.mark.parametrize(
    ("answer", "movable"),
    [(errno.EIO, False), (errno.EPERM, False), (errno.EINVAL, True), (errno.ENOMEM, True)],
)
def test_an_older_kernel_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, answer: int, movable: bool
) -> None:
    """EIO before 6.13, EPERM after: not for users; EINVAL: the kernel looked at the text."""
    path = tmp_path / "smp_affinity_list"
    path.touch()  # no size, as files of procfs
    written: list[bytes] = []

    def write(handle: int, text: bytes) -> int:
        written.append(text)
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(irq.os, "write", write)
    assert irq.is_movable(path) is movable
    assert [text.strip(b"?\n") for text in written] == [b""]  # nothing that could be a list


def test_nothing_is_asked_of_an_ordinary_file(host: FakeHost) -> None:
    """A file with a size is a test's; it keeps its text."""
    assert irq.is_movable(host.root / LIST_24)
    assert host.get(LIST_24) == "0-3"


def test_interrupts_that_go_meanwhile(host: FakeHost) -> None:
    """A device is unplugged: no place for it when reading, no error when writing."""
    assert irq.is_movable(host.root / "proc/irq/77/smp_affinity_list") is False
    KNOB.write(host.root, "proc/irq/77/smp_affinity_list", "0")
    host.unreadable["proc/irq/130/*"] = errno.EIO
    assert "proc/irq/130/smp_affinity_list" not in KNOB.read(host.root).values

    def unplug(_name: str, _value: str) -> None:
        (host.root / LIST_24).unlink()
        raise OSError(errno.ENODEV, "No such device")

    host.on_write.append(unplug)
    KNOB.write(host.root, LIST_24, "0")


def test_no_vector_left(host: FakeHost) -> None:
    """The errno of a full CPU gets its meaning, place and value."""
    host.refuse[LIST_24] = errno.ENOSPC
    with pytest.raises(KnobError, match=r"smp_affinity_list: '0' was refused: .*no interrupt v"):
        KNOB.write(host.root, LIST_24, "0")


def test_any_other_refusal_is_an_error(host: FakeHost) -> None:
    """What is refused and still there is not taken for gone."""
    host.refuse[LIST_24] = errno.EPERM
    with pytest.raises(KnobError, match="'0' was refused"):
        KNOB.write(host.root, LIST_24, "0")


def test_what_is_there_already_is_not_written(host: FakeHost) -> None:
    """Each write makes the kernel migrate an interrupt."""
    KNOB.write(host.root, LIST_24, "0-3")
    assert host.writes == []


@pytest.mark.parametrize("asked", ["0-4", "4", 7, "2,9-11"])
def test_absent_cpus(host: FakeHost, asked: object) -> None:
    """The kernel would leave them out silently; here they are named, with those online."""
    with pytest.raises(BadInputError, match=r"quiet_host: irq_cpus: .*absent or offline; online"):
        KNOB.resolve(asked, KNOB.read(host.root), host.root)


@pytest.mark.parametrize("asked", ["", "all", "1-0", True, 1.5, ["0"], -1])
def test_what_is_no_cpu_list(host: FakeHost, asked: object) -> None:
    """The message holds the setting, what was found and an example."""
    with pytest.raises(BadInputError, match=r"irq_cpus: .*wanted"):
        KNOB.resolve(asked, KNOB.read(host.root), host.root)


@pytest.fixture(scope="module")
def large_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine of 64 CPUs."""
    return FakeHost(tmp_path_factory.mktemp("large"), cpus=64).root


@given(cpus=st.sets(st.integers(0, 63), min_size=1))
def test_mask_and_lists_mean_the_same(large_root: Path, cpus: set[int]) -> None:
    """Whatever is asked, the default and the interrupts get the same CPUs, in kernel text."""
    reading = Reading({IRQ_DEFAULT: "00000000,00000003", LIST_24: "0"})
    wished = KNOB.resolve(format_cpu_list(cpus), reading, large_root)
    assert parse_mask(wished[IRQ_DEFAULT]) == sorted(cpus)
    assert wished[LIST_24] == format_cpu_list(cpus)
    assert KNOB.describe(wished) == format_cpu_list(cpus)


def test_irqbalance_moves_them(host: FakeHost) -> None:
    """While it is active two readings may differ, and the reading says so."""
    put_unit(host, "irqbalance.service", "loaded active")
    reading = KNOB.read(host.root)
    assert reading.moved_by == "irqbalance"
    assert reading.note == "irqbalance is active and moves them"
    assert KNOB.comparable(reading) == {
        IRQ_DEFAULT: "f",
        LIST_24: "moved by irqbalance",
        "proc/irq/130/smp_affinity_list": "moved by irqbalance",
    }
    put_unit(host, "irqbalance.service", "loaded inactive")
    still = KNOB.read(host.root)
    assert (still.moved_by, KNOB.comparable(still)) == (None, still.values)


def test_a_kernel_without_affinity(tmp_path: Path) -> None:
    """One CPU, no SMP: not available, and the file is named."""
    assert KNOB.read(tmp_path) == Reading(
        unavailable="/proc/irq/default_smp_affinity: this kernel cannot move interrupts"
    )
