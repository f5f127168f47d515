# SPDX-License-Identifier: GPL-3.0-or-later
"""An experiment file: its model, its rules, and the faults of one."""
