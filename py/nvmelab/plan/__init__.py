# SPDX-License-Identifier: GPL-3.0-or-later
"""From an experiment and what a host can do to points in order."""
