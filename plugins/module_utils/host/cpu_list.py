# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU lists as the kernel writes them ("2-5,8") to sorted numbers, and back; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PART = re.compile(r"(\d+)(?:-(\d+))?")


def parse_cpu_list(text: str) -> list[int]:
    """Return the CPUs of a list such as ``2-5,8``, sorted, each once.

    Raises:
        BadInputError: the text is empty, not a list, or has a range that runs backwards.
    """
    cpus: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        first, last = (match[1], match[2] or match[1]) if match else ("1", "0")
        if int(first) > int(last):
            raise BadInputError(
                f"CPU list {text!r}: {part.strip()!r} is neither a number nor a range; "
                "wanted text such as 2-5,8"
            )
        cpus.update(range(int(first), int(last) + 1))
    return sorted(cpus)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Return the shortest text of these CPUs, e.g. ``2-5,8``; empty for none."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
