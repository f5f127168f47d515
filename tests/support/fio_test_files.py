# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the tests of the reader find files of fio."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures/fio"
CORPUS = Path(os.environ.get("NVMELAB_FIO_CORPUS") or ROOT.parent / "shared/fio-corpus")


def fixture(name: str) -> str:
    """Return the path of a fixture."""
    return str(FIXTURES / name)


def fixture_text(name: str) -> str:
    """Return the text of a fixture."""
    return (FIXTURES / name).read_text()
