# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that read or set the state of a host say of the place where they do it."""

from __future__ import annotations


class ModuleDocFragment:
    """The options ``LAB_HOST`` of module_utils/module_options.py."""

    DOCUMENTATION = r"""
options:
  lab_directory:
    description: The lab directory, where it is recorded how the host was before it was changed.
    type: path
    default: /var/lib/nvmelab
  root:
    description: Root folder of the machine. Another than V(/) is for tests.
    type: path
    default: /
"""
