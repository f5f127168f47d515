# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that tune a group of settings say alike."""

from __future__ import annotations


class ModuleDocFragment:
    """The options beside ``settings`` that module_utils/host/knobs/module_run.py takes."""

    DOCUMENTATION = r"""
options:
  state:
    description: Whether the settings are in force, or those touched are as they were.
    type: str
    choices: [present, absent]
    default: present
  run_id:
    description:
      - The run that tunes. What a run left is put back when it was killed; what a user's own play
        set, without this, is never put back unasked.
    type: str
"""
