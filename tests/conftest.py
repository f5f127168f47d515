# SPDX-License-Identifier: GPL-3.0-or-later
"""What every lane of tests may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The checkout that is tested."""
    return CHECKOUT
