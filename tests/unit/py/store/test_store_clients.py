# SPDX-License-Identifier: GPL-3.0-or-later
"""Points of other clients than fio in the store: the same columns, their name, nothing made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
import run_archives

from nvmelab.store.folder import Store

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures/client"
NVME_PERF = (FIXTURES / "spdk_nvme_perf-v25.05.txt").read_bytes()
OPTIONS = {"rw": "randread", "bs": "512", "iodepth": 1, "runtime": 1, "time_based": 1}
RUN = run_archives.RUN_ID


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


def archive(folder: Path, output: bytes = NVME_PERF, **changes: Any) -> Path:
    """A run of one point by fio and one by spdk_nvme_perf; its record comes before or after."""
    two = run_archives.point(2, client="spdk_nvme_perf", fio_options=OPTIONS, **changes)
    files = run_archives.members(points=[run_archives.point(1), two])
    del files[f"{RUN}/points/0002.fio.json"]
    first = {f"{RUN}/points/0002.spdk_nvme_perf.txt": output}
    return run_archives.pack(folder / "run.tar.gz", {**first, **files})


def test_a_client_has_its_row_and_its_name(store: Store, tmp_path: Path) -> None:
    """As printed; fio's rows name fio, though their record of older days did not."""
    store.add(archive(tmp_path))
    (run,) = store.load("latest")
    assert [(row.point_id, row.client) for row in run.rows] == [
        ("0001", "fio"),
        ("0001", "fio"),
        ("0002", "spdk_nvme_perf"),
    ]
    row = run.rows[-1]
    assert (row.direction, row.iops, row.total_ios) == ("read", 30830.89, 200)
    assert (row.clat_mean_ns, row.ioengine, row.fio_version, row.error) == (None,) * 4
    assert row.lat_mean_ns == pytest.approx(32410, abs=5.01)
    bins = run.histograms()["0002", "read", "lat"]
    assert sum(count for _, count in bins) == 200
    assert run.manifest["schema_version"] == 2


def test_an_output_that_is_no_result_is_dropped_with_its_reason(
    store: Store, tmp_path: Path
) -> None:
    """As an unreadable output of fio is."""
    store.add(archive(tmp_path, NVME_PERF[:900]))
    (run,) = store.load("latest")
    assert {row.point_id for row in run.rows} == {"0001"}
    (dropped,) = run.manifest["record"]["dropped"]
    assert dropped["id"] == "0002"
    assert "points/0002.spdk_nvme_perf.txt: spdk_nvme_perf: found 0 latency" in dropped["reason"]


def test_a_record_of_schema_1_reads_as_fios(store: Store, tmp_path: Path) -> None:
    """Its file has no column client; each of its rows was driven by fio."""
    store.add(run_archives.archive(tmp_path))
    folder = store.runs_path / RUN / "storage-a"
    old, path = folder / "old.parquet", folder / "rows.parquet"
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT * EXCLUDE (client) FROM '{path}') TO '{old}' (FORMAT parquet)"  # noqa: S608
        )
    old.replace(path)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["schema_version"] = 1
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    (run,) = store.load("latest")
    assert {row.client for row in run.rows} == {"fio"}
    assert run.manifest["schema_version"] == 2
