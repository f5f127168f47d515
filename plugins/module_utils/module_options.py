# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that many modules take, for their argument specs; documented in doc_fragments."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

_LAB_DIRECTORY = {"type": "path", "default": "/var/lib/nvmelab"}
LAB_ROOT = {"root": _LAB_DIRECTORY}
MACHINE = {"root": {"type": "path", "default": "/"}}
LAB_HOST = {"lab_directory": _LAB_DIRECTORY, **MACHINE}


def lab_directory(options: Mapping[str, Any]) -> Path:
    """Return where the lab directory of the machine below ``root`` lies (options of LAB_HOST)."""
    return Path(options["root"]) / str(options["lab_directory"]).lstrip("/")
