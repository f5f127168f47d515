# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel does with memory by itself: huge pages, merging, moving between nodes.

Source: admin-guide/mm/transhuge, admin-guide/mm/ksm, admin-guide/sysctl/kernel.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import (
    FileKnob,
    SwitchKnob,
    find_places,
    offered,
    read_file,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import Reading

_THP = "sys/kernel/mm/transparent_hugepage"
# A size of its own follows the setting for all with "inherit"; these say nothing against it.
_FOLLOWING = ("inherit", "never")


class _Choice(FileKnob):
    """A file such as ``always [madvise] never``; ``words`` are those that any kernel has."""

    group = "quiet_host"
    words: tuple[str, ...]

    def text_of(self, asked: Any) -> str:
        """Return the word."""
        if asked not in self.words:
            raise BadInputError(
                f"{self.group}: {self.name} {asked!r}: wanted one of {', '.join(self.words)}"
            )
        return str(asked)

    def allowed(self, system: Path) -> Optional[tuple[str, ...]]:
        """Return the words of this kernel; None where the file has one only."""
        text = read_file(system / self.pattern)
        return offered(text) if text and "[" in text else None


class Thp(_Choice):
    """Transparent huge pages: for all memory, and (since 6.8) for single page sizes."""

    name = "thp"
    words = ("always", "madvise", "never")
    pattern = f"{_THP}/enabled"
    missing = "this kernel has no transparent huge pages"

    def places(self, system: Path) -> list[str]:
        """Return the setting for all, then those of the sizes."""
        return [*super().places(system), *find_places(system, f"{_THP}/hugepages-*kB/enabled")]

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return the word, and have each size follow it that has a will of its own."""
        wished = super().resolve(asked, reading, system)
        sizes = {place: value for place, value in reading.values.items() if place != self.pattern}
        return {
            **wished,
            **{p: value if value in _FOLLOWING else "inherit" for p, value in sizes.items()},
        }

    def describe(self, values: Mapping[str, str]) -> str:
        """Return the word for all, and the sizes that do otherwise."""
        others = [
            f"{_page_size(place)} {value}"
            for place, value in values.items()
            if place != self.pattern and value not in _FOLLOWING
        ]
        return ", ".join([values.get(self.pattern, "inherit"), *others])


def _page_size(place: str) -> str:
    found = re.search(r"hugepages-(\d+)kB", place)
    return f"{found[1]} KiB" if found else place


class ThpDefrag(_Choice):
    """Who waits for memory to be compacted into huge pages."""

    name = "thp_defrag"
    words = ("always", "defer", "defer+madvise", "madvise", "never")
    pattern = f"{_THP}/defrag"
    missing = "this kernel has no transparent huge pages"


class Ksm(SwitchKnob):
    """Kernel samepage merging, a daemon that reads the memory of guests."""

    name = "ksm"
    group = "quiet_host"
    pattern = "sys/kernel/mm/ksm/run"
    missing = "this kernel merges no pages (no KSM)"

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return 1 or 0; what was stopped with 2, which also unmerged all pages, stays so."""
        wished = super().resolve(asked, reading, system)
        found = reading.values[self.pattern]
        return reading_kept(wished, reading, keep=found == "2" and wished[self.pattern] == "0")

    def describe(self, values: Mapping[str, str]) -> str:
        """Return on or off, 2 being an off."""
        words = {"2": "off (2)"}
        return super().describe({place: words.get(v, v) for place, v in values.items()})


class NumaBalancing(SwitchKnob):
    """Moving pages to the node of the CPU that uses them; 2 is tiering, which is on too."""

    name = "numa_balancing"
    group = "quiet_host"
    pattern = "proc/sys/kernel/numa_balancing"
    missing = "this kernel does not balance NUMA nodes"

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return 0 or 1; a kind of balancing that is on stays the kind that it is."""
        wished = super().resolve(asked, reading, system)
        found = reading.values[self.pattern]
        return reading_kept(wished, reading, keep=found != "0" and wished[self.pattern] == "1")

    def describe(self, values: Mapping[str, str]) -> str:
        """Return on or off, kinds other than 1 with their number."""
        words = {"0": "0", "1": "1"}
        return super().describe({place: words.get(v, f"on ({v})") for place, v in values.items()})


def reading_kept(wished: dict[str, str], reading: Reading, *, keep: bool) -> dict[str, str]:
    """Return what is there where it is to be kept, else the wish."""
    return dict(reading.values) if keep else wished
