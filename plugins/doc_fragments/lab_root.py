# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that need nothing of a host but its lab directory say of it."""

from __future__ import annotations


class ModuleDocFragment:
    """The option ``LAB_ROOT`` of module_utils/module_options.py."""

    DOCUMENTATION = r"""
options:
  root:
    description: The lab directory, below which everything of the lab lies on this host.
    type: path
    default: /var/lib/nvmelab
"""
