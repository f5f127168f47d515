# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of ours as a unit of systemd's, where systemd runs.

A scope, not a service: the process stays our child, with its pid, its log, its CPUs and limits,
and we alone learn with which signal it ended. systemd gives it a name, a control group of its own
and an end at shutdown; it no longer belongs to the session that started it.
Source: systemd-run(1), systemd.scope(5), sd_booted(3).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Optional

_BOOTED = "run/systemd/system"  # sd_booted(3)
_UNIT_CHARACTERS = 200  # of the 255 that systemd takes


def unit_for(*names: str, system: Path = Path("/")) -> Optional[str]:
    """Return the unit ``nvmelab-NAME-NAME.scope``; None where we can make none.

    That is: systemd does not run, has no systemd-run, or we are not root.
    """
    if os.geteuid() or not (system / _BOOTED).is_dir() or shutil.which("systemd-run") is None:
        return None
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join(("nvmelab", *names)))
    return f"{name[:_UNIT_CHARACTERS]}.scope"


def starter(unit: str) -> list[str]:
    """Return the words before a program's that make it this unit; the pid stays the same."""
    command = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={unit}"]
    return [*command, "--property=TimeoutStopSec=10", "--"]
