# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let threads run on given CPUs only, and notice when they cannot."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import format_cpu_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class AffinityError(NvmelabError):
    """A CPU that was asked for is absent, offline or not for us."""


def set_affinity(thread_id: int, cpus: Sequence[int], name: str) -> None:
    """Let a thread run on these CPUs and no others; 0 is the calling thread.

    Raises:
        AffinityError: one of them cannot be had. The kernel itself would silently leave it out.
    """
    before = os.sched_getaffinity(thread_id)
    try:
        os.sched_setaffinity(thread_id, cpus)
    except OSError:
        got = set()
    else:
        got = os.sched_getaffinity(thread_id)
    if got == set(cpus):
        return
    os.sched_setaffinity(thread_id, before)
    raise AffinityError(
        f"{name}: cannot run on CPUs {format_cpu_list(cpus)}: of those this machine gives us "
        f"{format_cpu_list(got) or 'none'}, and there are {format_cpu_list(before)}"
    )


@contextlib.contextmanager
def affinity(cpus: Optional[Sequence[int]], name: str) -> Iterator[None]:
    """Let what this thread starts meanwhile run on ``cpus``; None changes nothing.

    A process that is pinned after its start may have made threads before.

    Raises:
        AffinityError: one of them cannot be had.
    """
    before = os.sched_getaffinity(0)
    try:
        if cpus:
            set_affinity(0, cpus, name)
        yield
    finally:
        os.sched_setaffinity(0, before)
