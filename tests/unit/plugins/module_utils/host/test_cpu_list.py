# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU lists as the kernel writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)


@pytest.mark.parametrize(
    ("text", "cpus"), [("3", [3]), ("2-5,8", [2, 3, 4, 5, 8]), ("4, 0-1,1", [0, 1, 4])]
)
def test_reads_what_the_kernel_writes(text: str, cpus: list[int]) -> None:
    """Ranges are inclusive; the result is sorted, each CPU once."""
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["", "a", "5-2", "1,", "-1", "1-2-3", "0x3"])
def test_refuses_what_is_no_list(text: str) -> None:
    """A typing error is an error that shows the text, never an empty or shorter list."""
    with pytest.raises(BadInputError, match="CPU list") as caught:
        parse_cpu_list(text)
    assert repr(text) in str(caught.value)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_reading_undoes_writing(cpus: set[int]) -> None:
    """Any set of CPUs survives being written and read."""
    assert parse_cpu_list(format_cpu_list(cpus)) == sorted(cpus)


def test_writes_the_shortest_text() -> None:
    """Neighbours become one range."""
    assert format_cpu_list([8, 2, 4, 3]) == "2-4,8"
