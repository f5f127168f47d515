# SPDX-License-Identifier: GPL-3.0-or-later
"""Hugepages asked for at boot: refused where the host would not take or not survive them."""

from __future__ import annotations

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_hugepages import (
    refuse_hugepages,
)

# 16 GiB: 15 GiB may go into pages.
MEMINFO = "MemTotal:       16777216 kB\nHugepagesize:       2048 kB\n"
SIZES = [2048, 1048576]


@pytest.mark.parametrize(
    "line",
    [
        "nosmt",
        "hugepages=7680",
        "hugepagesz=1G hugepages=15",
        "hugepagesz=1g hugepages=0:7,1:8",
        "default_hugepagesz=1G hugepages=15",
        "hugepagesz=1G hugepages=14 hugepagesz=2M hugepages=512",
    ],
)
def test_what_fits_is_taken(line: str) -> None:
    """Counts belong to the size before them, and a sixteenth of the memory is left."""
    refuse_hugepages(line.split(), sizes_kib=SIZES, meminfo=MEMINFO)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hugepages=7681", "would not boot again"),
        ("hugepagesz=1G hugepages=0:8,1:8", "reserve 16384 MiB, and this host has 16384 MiB"),
        ("default_hugepagesz=1G hugepages=16", "would not boot again"),
        ("hugepages=nonsense", "no count of pages"),
        ("hugepages=", "no count of pages"),
        ("hugepagesz=3M hugepages=1", "has pages of 2M, 1024M"),
        ("hugepagesz=big", "is no page size"),
    ],
)
def test_what_does_not_is_refused(line: str, why: str) -> None:
    """The refusal says what was found and what was wanted."""
    with pytest.raises(BadInputError, match=why):
        refuse_hugepages(line.split(), sizes_kib=SIZES, meminfo=MEMINFO)


def test_what_is_not_known_is_not_refused() -> None:
    """Without a word of the machine only the syntax counts."""
    refuse_hugepages(["hugepagesz=16G", "hugepages=9999"], sizes_kib=[], meminfo=None)
