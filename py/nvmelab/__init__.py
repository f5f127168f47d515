# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects, judges and shows what the collection nvmelab.bench measured."""

__version__ = "0.1.0"
