# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one base of every error that nvmelab raises on purpose; imports nothing."""

from __future__ import annotations

from typing import Optional


class NvmelabError(Exception):
    """Something a user can act on: what was found, what was wanted, what to do next.

    ``log`` is the path of the file that tells more, on the host that the error speaks of.
    ``exit_code`` is what ``python -m nvmelab`` ends with.
    """

    exit_code = 1

    def __init__(self, message: str, *, log: Optional[str] = None) -> None:
        super().__init__(message)
        self.log = log

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} (log: {self.log})" if self.log else text


class BadInputError(NvmelabError):
    """What the user gave cannot be meant; nothing was touched."""

    exit_code = 2
