# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CPUs that work of the kernel goes to which is bound to none.

Source: core-api/workqueue, "Affinity Scopes"; kernel/workqueue.c, wq_unbound_cpumask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import format_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpu_mask import (
    format_mask,
    parse_mask,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpu_wish import online_cpus
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import (
    FileKnob,
    find_places,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import Reading

_FOLDER = "sys/devices/virtual/workqueue"


class WorkqueueCpus(FileKnob):
    """The mask of all unbound workqueues, and that of writeback, which writes dirty pages."""

    name = "workqueue_cpus"
    group = "quiet_host"
    pattern = f"{_FOLDER}/cpumask"
    missing = "this kernel does not let anybody choose the CPUs of its workqueues"

    def places(self, system: Path) -> list[str]:
        """Return both files, as far as they are there."""
        return [*super().places(system), *find_places(system, f"{_FOLDER}/writeback/cpumask")]

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return the mask of these CPUs, as wide as each file has it."""
        cpus = online_cpus(f"{self.group}: {self.name}", asked, system)
        return {place: format_mask(cpus, text) for place, text in reading.values.items()}

    def describe(self, values: Mapping[str, str]) -> str:
        """Return the CPUs as lists."""
        lists = {place: format_cpu_list(parse_mask(text)) for place, text in values.items()}
        return super().describe(lists)
