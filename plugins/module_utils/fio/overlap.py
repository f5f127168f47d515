# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether jobs measured at the same time, so that their figures may be added. Pure.

fio starts its jobs together, but each opens its device after that, and its clock starts when it is
open: xNVMe opens one device after the other. Seen with 24 of them: the last began 5.5 s late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.row import DIRECTIONS

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.fio.documents import Document

Window = Tuple[float, float]  # begin and length in ms


def windows(document: Document, *, zero_ms: float) -> Optional[List[Window]]:
    """Return when each job of one fio measured, counted from ``zero_ms`` of its clock.

    None where fio does not tell when a job began, which it does since 3.36. The ramp is left in:
    it is the same for all, and moves nothing.
    """
    jobs = document.get("jobs") or ()
    if not all(isinstance(job.get("job_start"), (int, float)) for job in jobs):
        return None
    return [(job["job_start"] - zero_ms, _runtime_ms(job)) for job in jobs]


def shared_ratio(found: Sequence[Window]) -> Optional[float]:
    """Return the part of the longest job's time in which all measured, from 0 to 1.

    None for fewer than two jobs, and where none ran.
    """
    longest = max((length for _, length in found), default=0.0)
    if len(found) < 2 or not longest:  # noqa: PLR2004
        return None
    first_end = min(begin + length for begin, length in found)
    return max(0.0, first_end - max(begin for begin, _ in found)) / longest


def _runtime_ms(job: Mapping[str, Any]) -> float:
    return max((float((job.get(one) or {}).get("runtime") or 0) for one in DIRECTIONS), default=0.0)
