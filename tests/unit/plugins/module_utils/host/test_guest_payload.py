# SPDX-License-Identifier: GPL-3.0-or-later
"""Which builds guests get: whole ones, of SPDK its client; one fio among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import guest_payload


def probe(path: str) -> dict[str, Any]:
    """Stands for the program."""
    return {"path": path, "version": "3.40", "engines": ["xnvme"]}


def build(root: Path, *names: str) -> str:
    """A prefix with these programs."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return str(root)


def test_nothing_given_is_no_payload() -> None:
    """As shipped."""
    assert guest_payload.find([], probe) is None


def test_builds_and_their_programs(tmp_path: Path) -> None:
    """Each prefix once; of SPDK only the client."""
    fio, xnvme = build(tmp_path / "fio", "bin/fio"), build(tmp_path / "xnvme", "lib/libxnvme.so")
    spdk = build(tmp_path / "spdk", guest_payload.SPDK_CLIENT)
    client = f"{spdk}/{guest_payload.SPDK_CLIENT}"
    assert guest_payload.find([xnvme, fio, spdk, xnvme], probe) == {
        "prefixes": [xnvme, fio, spdk],
        "paths": [xnvme, fio, client],
        "fio": probe(f"{fio}/bin/fio"),
        "programs": {"spdk_nvme_perf": client},
    }
    found = guest_payload.find([xnvme], probe)
    assert found is not None
    assert found["fio"] is None


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """A folder that is not there, and two fios."""
    with pytest.raises(BadInputError, match=f"guest_prefixes: {tmp_path}/no: no such folder"):
        guest_payload.find([str(tmp_path / "no")], probe)
    pair = [build(tmp_path / name, "bin/fio") for name in ("a", "b")]
    with pytest.raises(BadInputError, match="wanted one fio for the guests"):
        guest_payload.find(pair, probe)
