# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody sets here and everybody should know: mitigations, isolated CPUs, KVM's polling."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import (
    FileKnob,
    find_places,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import Knob

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import Reading

_CPU = "sys/devices/system/cpu"


class RecordedFiles(FileKnob):
    """Files that are read only, of a knob that nobody may ask for."""

    group = "quiet_host"
    is_settable = False

    def parse(self, text: str) -> str:
        """Return the text as it is."""
        return text

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Refuse, as a knob does that is recorded only."""
        return Knob.resolve(self, asked, reading, system)

    def write(self, system: Path, place: str, value: str) -> None:
        """Refuse, as a knob does that is recorded only."""
        Knob.write(self, system, place, value)


class Mitigations(RecordedFiles):
    """What the kernel does against each weakness of the CPU, in its own words."""

    name = "mitigations"
    pattern = f"{_CPU}/vulnerabilities/*"
    missing = "this kernel does not tell of mitigations"

    def describe(self, values: Mapping[str, str]) -> str:
        """Return which weaknesses are open and which cost something; the others as a number."""
        names: dict[str, list[str]] = {}
        for place, text in sorted(values.items()):
            names.setdefault(_kind(text), []).append(place.rpartition("/")[2])
        return "; ".join(
            f"{kind}: {len(found) if kind == 'not affected' else ', '.join(found)}"
            for kind, found in sorted(names.items())
        )


def _kind(text: str) -> str:
    found = re.match(r"(?:KVM: )?(Not affected|Vulnerable|Mitigation|Unknown)", text)
    words = {"Mitigation": "mitigated"}
    return words.get(found[1], found[1].lower()) if found else "other"


class IsolatedCpus(RecordedFiles):
    """The CPUs that the kernel was booted to leave alone."""

    name = "isolated_cpus"
    pattern = f"{_CPU}/isolated"
    missing = "this kernel does not tell of isolated CPUs"

    def places(self, system: Path) -> list[str]:
        """Return the CPUs without scheduling, then those without a tick."""
        return [*super().places(system), *find_places(system, f"{_CPU}/nohz_full")]

    def parse(self, text: str) -> str:
        """Return the list; older kernels print ``(null)`` for none."""
        return "" if text == "(null)" else text

    def describe(self, values: Mapping[str, str]) -> str:
        """Return both lists by name."""
        return ", ".join(
            f"{place.rpartition('/')[2]} {cpus or 'none'}" for place, cpus in values.items()
        )


class KvmHaltPoll(RecordedFiles):
    """How long KVM polls before a halted vCPU gives its CPU away; costs a CPU, saves a wakeup."""

    name = "kvm_halt_poll_ns"
    pattern = "sys/module/kvm/parameters/halt_poll_ns*"
    missing = "KVM is not loaded"

    def describe(self, values: Mapping[str, str]) -> str:
        """Return the time itself, then how it grows and shrinks."""
        return ", ".join(
            f"{place.partition('halt_poll_ns')[2].strip('_') or 'at most'} {value}"
            for place, value in sorted(values.items())
        )
