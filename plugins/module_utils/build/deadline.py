# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One time limit for all that a build does."""

from __future__ import annotations

import time
from typing import Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import BuildError


class Deadline:
    """A point in time that is asked how far away it is; None is never."""

    def __init__(self, limit_s: Optional[float]) -> None:
        self.limit_s = limit_s
        self._end = None if limit_s is None else time.monotonic() + limit_s

    def left_s(self, doing: str) -> Optional[float]:
        """The seconds left for ``doing``; None when there is no limit.

        Raises:
            BuildError: none are left.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.missed(doing)
        return left

    def missed(self, doing: str) -> BuildError:
        """The error that says what was being done when time ran out."""
        return BuildError(f"{doing}: not done within timeout_s = {self.limit_s or 0:g} s; raise it")
