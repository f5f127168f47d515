# SPDX-License-Identifier: GPL-3.0-or-later
"""The knob swap: off while there is memory for it, and on again exactly as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_quiet import NO_SWAP, TWO_SWAPS, calls, put_swaps, put_tool
from fake_sysfs import FakeHost
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    KnobError,
    Reading,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.swap import Swap
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.swap_areas import (
    SWAPS,
    Area,
    discard_policy,
    format_areas,
    parse_areas,
    parse_swaps,
)

KNOB = Swap()
BOTH = "/dev/zram0=100 /dev/dm-1=-2"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A machine with a zram area and one on a disk."""
    fake = FakeHost(tmp_path)
    put_swaps(fake)
    return fake


def test_off_and_on_again(host: FakeHost) -> None:
    """Areas go and come back in the order and with the priorities that they had."""
    reading = KNOB.read(host.root)
    assert reading == Reading({SWAPS: BOTH})
    assert KNOB.describe(reading.values) == "on (/dev/zram0 priority 100, /dev/dm-1 priority -2)"
    wished = KNOB.resolve(asked=False, reading=reading, system=host.root)
    assert KNOB.refusal(host.root, SWAPS, wished[SWAPS]) is None
    KNOB.write(host.root, SWAPS, wished[SWAPS])
    assert KNOB.describe(KNOB.read(host.root).values) == "off"
    KNOB.write(host.root, SWAPS, BOTH)
    assert KNOB.read(host.root) == reading
    assert calls(host.root) == [
        "swapoff /dev/zram0",
        "swapoff /dev/dm-1",
        "swapon --priority 100 /dev/zram0",
        "swapon /dev/dm-1",
    ]


def test_priorities_of_the_kernels_own(host: FakeHost) -> None:
    """They cannot be asked for; turned on in falling order the kernel gives the same ones."""
    rows = ["/swap/b file 1024 0 -3", "/swap/a file 1024 0 -2", "/swap/c file 1024 0 7"]
    put_swaps(host, "\n".join([NO_SWAP, *rows]))
    before = KNOB.read(host.root).values[SWAPS]
    assert before == "/swap/c=7 /swap/a=-2 /swap/b=-3"
    KNOB.write(host.root, SWAPS, "off")
    KNOB.write(host.root, SWAPS, before)
    assert KNOB.read(host.root).values[SWAPS] == before


def test_only_what_differs_is_touched(host: FakeHost) -> None:
    """An area that is on as wished stays on; a foreign one goes, another priority is set anew."""
    KNOB.write(host.root, SWAPS, "/dev/zram0=5 /dev/dm-1=-2")
    assert calls(host.root) == ["swapoff /dev/zram0", "swapon --priority 5 /dev/zram0"]


def test_too_little_memory(host: FakeHost) -> None:
    """Figures of both in the message; nothing is turned off, also by a write."""
    used = TWO_SWAPS.replace("\t\t1024\t", f"\t\t{3 << 20}\t")
    put_swaps(host, used, available_mib=2048)
    refusal = KNOB.refusal(host.root, SWAPS, "off") or ""
    assert "3074 MiB are swapped out, found 2048 MiB of memory available" in refusal
    with pytest.raises(KnobError, match=r"3074 MiB"):
        KNOB.write(host.root, SWAPS, "off")
    assert calls(host.root) == []


def test_memory_that_just_suffices(host: FakeHost) -> None:
    """3072 KiB are swapped out, and as much is available."""
    host.put("proc/meminfo", "MemAvailable: 3072 kB")
    assert KNOB.refusal(host.root, SWAPS, "off") is None
    host.put("proc/meminfo", "MemAvailable: 3071 kB")
    assert KNOB.refusal(host.root, SWAPS, "off")


def test_a_file_without_a_name(host: FakeHost) -> None:
    """It could not be turned on again, so it is not turned off."""
    put_swaps(host, f"{NO_SWAP}\n/old\\040file\\040(deleted) file 1024 0 -2")
    assert "/old file (deleted) could not be turned on again" in (
        KNOB.refusal(host.root, SWAPS, "off") or ""
    )


@pytest.mark.parametrize(("tool", "value"), [("swapoff", "off"), ("swapon", f"{BOTH} /new=1")])
def test_a_host_without_the_tool(host: FakeHost, tool: str, value: str) -> None:
    """Known before anything is turned off."""
    (host.root / "usr/sbin" / tool).unlink()
    assert f"has no {tool}" in (KNOB.refusal(host.root, SWAPS, value) or "")


def test_a_tool_that_fails(host: FakeHost) -> None:
    """Its words and the command are in the message."""
    put_tool(host, "swapoff", "#!/bin/sh\necho 'swapoff: Cannot allocate memory' >&2\nexit 4\n")
    with pytest.raises(
        KnobError, match=r"swapoff /dev/zram0: ended with status 4: .*Cannot allocate"
    ):
        KNOB.write(host.root, SWAPS, "off")


def test_swap_that_is_not_on(host: FakeHost) -> None:
    """Asked to be off is fulfilled; which area to turn on is nobody's guess."""
    put_swaps(host, NO_SWAP)
    reading = KNOB.read(host.root)
    assert (
        KNOB.resolve(asked=False, reading=reading, system=host.root)
        == reading.values
        == {SWAPS: "off"}
    )
    with pytest.raises(BadInputError, match=r"swap true: no swap area is on"):
        KNOB.resolve(asked=True, reading=reading, system=host.root)


def test_swap_that_shall_stay_on(host: FakeHost) -> None:
    """True is fulfilled by what is on."""
    reading = KNOB.read(host.root)
    assert KNOB.resolve(asked=True, reading=reading, system=host.root) == reading.values


@pytest.mark.parametrize(
    ("source", "options", "policy"),
    [
        ("/dev/dm-1", "sw", None),
        ("/dev/dm-1", "sw,discard,pri=3", ""),
        ("/dev/mapper/vg-swap", "defaults,discard=once", "once"),
        ("UUID=1234-abcd", "discard=pages", "pages"),
        ('LABEL="other"', "discard", None),
        ("/dev/dm-1", "nodiscard", None),
    ],
)
def test_discard_as_in_fstab(host: FakeHost, source: str, options: str, policy: str | None) -> None:
    """The kernel does not tell how an area was turned on; fstab does, by any name of it."""
    for link in ("mapper/vg-swap", "disk/by-uuid/1234-abcd"):
        path = host.root / "dev" / link
        path.parent.mkdir(parents=True)
        path.symlink_to(Path(*[".."] * link.count("/"), "dm-1"))
    host.put("etc/fstab", f"# {source} none swap discard 0 0\n{source} none swap {options} 0 0")
    assert discard_policy(host.root, "/dev/dm-1") == policy
    KNOB.write(host.root, SWAPS, "off")
    KNOB.write(host.root, SWAPS, BOTH)
    wanted = {None: "", "": "--discard "}.get(policy, f"--discard={policy} ")
    assert calls(host.root)[-1] == f"swapon {wanted}/dev/dm-1"


def test_discard_as_in_a_unit(host: FakeHost) -> None:
    """zram-generator writes units, and asks for discard; priority and discard both come back."""
    unit = "[Unit]\nDescription=Compressed Swap\n[Swap]\nWhat=/dev/zram0\nOptions=discard"
    host.put("run/systemd/generator/dev-zram0.swap", unit)
    KNOB.write(host.root, SWAPS, "off")
    KNOB.write(host.root, SWAPS, BOTH)
    assert calls(host.root)[2] == "swapon --priority 100 --discard /dev/zram0"


# Letters that some split at, and all others.
NAMES = st.text(st.sampled_from(" \t\n\\=,\u2003\x0b\x1c\u2028") | st.characters(codec="utf-8"))


@given(st.lists(st.tuples(NAMES.map("/{}".format), st.integers(-9, 32767)), max_size=4))
def test_one_line_holds_any_areas(pairs: list[tuple[str, int]]) -> None:
    """Names with spaces, equals signs or backslashes survive, priorities and order too."""
    areas = [Area(name, priority) for name, priority in pairs]
    assert parse_areas(format_areas(areas)) == areas
    assert (format_areas(areas) == "off") == (not areas)


def test_a_name_as_the_kernel_escapes_it() -> None:
    """Octal escapes in /proc/swaps are undone."""
    text = f"{NO_SWAP}\n/my\\040swap\\134file\\012 file 1024 12 -2\n/a\u2003b file 8 0 -3\n"
    assert parse_swaps(text) == [Area("/my swap\\file\n", -2, 12), Area("/a\u2003b", -3)]


@pytest.mark.parametrize("line", ["/dev/sda2 partition 1024 0", "/dev/sda2 a b c d", "x"])
def test_a_line_that_is_none(host: FakeHost, line: str) -> None:
    """A cut or garbled file is not taken for one with less swap."""
    put_swaps(host, f"{NO_SWAP}\n{line}")
    with pytest.raises(KnobError, match=r"wanted name, type, size, used and priority"):
        KNOB.read(host.root)
