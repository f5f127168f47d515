# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CPU list that somebody asked for means on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import read_file

if TYPE_CHECKING:
    from pathlib import Path

ONLINE = "sys/devices/system/cpu/online"


def online_cpus(name: str, asked: Any, system: Path) -> list[int]:
    """Return the CPUs of a list such as ``0-1``, all of them online here; ``name`` is the setting.

    Raises:
        BadInputError: it is no CPU list, or a CPU of it is absent or offline: the kernel would
            silently leave it out.
    """
    # A single CPU is a number in YAML.
    is_text = isinstance(asked, str) or (isinstance(asked, int) and not isinstance(asked, bool))
    if not is_text:
        raise BadInputError(f"{name}: found {asked!r}, wanted a CPU list such as 0-1")
    try:
        cpus = parse_cpu_list(str(asked))
    except BadInputError as error:
        raise BadInputError(f"{name}: {error}") from error
    online = parse_cpu_list(read_file(system / ONLINE) or "0")
    absent = [cpu for cpu in cpus if cpu not in online]
    if absent:
        raise BadInputError(
            f"{name}: {asked!r} holds CPUs {format_cpu_list(absent)} that are absent or offline; "
            f"online are {format_cpu_list(online)}; next: name only those"
        )
    return cpus
