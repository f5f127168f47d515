# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU masks as the kernel writes them ("f,ffffffff") to sorted numbers, and back; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

_GROUP_DIGITS = 8
_MASK = re.compile(r"[0-9a-f]{1,8}(,[0-9a-f]{8})*", re.IGNORECASE)


def parse_mask(text: str) -> list[int]:
    """Return the CPUs of a mask such as ``f,ffffffff``, sorted.

    Raises:
        BadInputError: the text is not a mask.
    """
    if not _MASK.fullmatch(text):
        raise BadInputError(f"CPU mask {text!r}: wanted groups of 8 hex digits such as f,ffffffff")
    number = int(text.replace(",", ""), 16)
    return [cpu for cpu in range(number.bit_length()) if number >> cpu & 1]


def format_mask(cpus: Iterable[int], like: str) -> str:
    """Return the mask of these CPUs, as wide as ``like``.

    The kernel pads its masks to the number of CPUs that it could have, so that only a text of the
    same width is what it reads back.

    Raises:
        BadInputError: a CPU does not fit into that width.
    """
    digit_count = len(like.replace(",", ""))
    number = sum(1 << cpu for cpu in set(cpus))
    if number.bit_length() > digit_count * 4:
        raise BadInputError(
            f"CPU {number.bit_length() - 1}: this kernel's masks ({like}) end with CPU "
            f"{digit_count * 4 - 1}"
        )
    digits = f"{number:0{digit_count}x}"
    first = len(digits) % _GROUP_DIGITS
    groups = [digits[start : start + _GROUP_DIGITS] for start in range(first, digit_count, 8)]
    return ",".join([digits[:first], *groups] if first else groups)
