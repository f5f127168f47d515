# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of immutable runs, and the records in it."""
