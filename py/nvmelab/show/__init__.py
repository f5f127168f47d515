# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics, and what a person sees: table and report."""
