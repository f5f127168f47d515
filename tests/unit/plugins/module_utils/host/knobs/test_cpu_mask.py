# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU masks to numbers and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpu_mask import (
    format_mask,
    parse_mask,
)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("3", [0, 1]),
        ("f", [0, 1, 2, 3]),
        ("00", []),
        ("ff,ffffffff", list(range(40))),
        ("00000001,00000000", [32]),
        ("80000000,00000000,00000001", [0, 95]),
        ("00000000,0000FF00", list(range(8, 16))),
    ],
)
def test_masks_worked_out_by_hand(text: str, cpus: list[int]) -> None:
    """The kernel's groups of 32 bits, highest first; written back they are the same text."""
    assert parse_mask(text) == cpus
    assert format_mask(cpus, like=text) == text.lower()


@given(st.sets(st.integers(0, 1023)), st.integers(0, 9))
def test_round_trip(cpus: set[int], spare_digits: int) -> None:
    """Any CPUs survive, in a text as wide as the one given and grouped as the kernel groups."""
    digits = "0" * (max(cpus, default=0) // 4 + 1 + spare_digits)
    head = len(digits) % 8
    groups = [digits[start : start + 8] for start in range(head, len(digits), 8)]
    like = ",".join([digits[:head], *groups] if head else groups)
    text = format_mask(cpus, like=like)
    assert parse_mask(text) == sorted(cpus)
    assert [len(group) for group in text.split(",")] == [len(group) for group in like.split(",")]


@pytest.mark.parametrize("text", ["", "g", "0x3", "1,2", "123456789", "1,,00000000", "f\n"])
def test_what_is_no_mask(text: str) -> None:
    """Text that the kernel never prints is refused with an example of what it does."""
    with pytest.raises(BadInputError, match="wanted groups of 8 hex digits"):
        parse_mask(text)


def test_a_cpu_beyond_the_mask() -> None:
    """A CPU that the kernel has no bit for is refused, and the last one named."""
    with pytest.raises(BadInputError, match=r"CPU 8: this kernel's masks .00. end with CPU 7"):
        format_mask([0, 8], like="00")
