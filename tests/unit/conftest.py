# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all unit tests."""

from __future__ import annotations

from hypothesis import settings

# No test asserts speed: on a busy machine Hypothesis' own deadline, 200 ms an example, would.
settings.register_profile("nvmelab", deadline=None)
settings.load_profile("nvmelab")
