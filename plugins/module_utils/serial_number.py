# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serial numbers of emulated NVMe devices: Linux refuses a second controller with the same."""

from __future__ import annotations

import hashlib

CHARACTERS_MAX = 20  # NVMe, Identify Controller: SN
_DIGEST_DIGITS = 8


def serial_number(name: str) -> str:
    """Return a device's name as its serial number, cut so that different names stay different."""
    if len(name) <= CHARACTERS_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_DIGITS]
    return f"{name[: CHARACTERS_MAX - _DIGEST_DIGITS - 1]}-{digest}"
