# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong between a source and its build."""

from __future__ import annotations

from typing import Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError


class BuildError(NvmelabError):
    """A source could not be had, or did not build; one line says why.

    ``log_tail`` are the last lines of the build's log; empty when no step of it had run.
    """

    def __init__(
        self, message: str, *, log: Optional[str] = None, log_tail: Sequence[str] = ()
    ) -> None:
        super().__init__(message, log=log)
        self.log_tail = list(log_tail)


class MissingToolError(BuildError):
    """A program that the build needs is not on its PATH."""


class NotCachedError(BuildError):
    """What is wanted is not in the cache of sources, and nothing may be fetched."""
