# SPDX-License-Identifier: GPL-3.0-or-later
"""Exports hold every row and every column, and nothing that was not measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import duckdb
import pytest
import run_archives

from nvmelab.commands.export import export_rows
from nvmelab.store.folder import Store
from nvmelab.store.records import COLUMNS, RecordError, Row


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one run of two hosts."""
    store = Store(tmp_path / "it's a store")
    for host in ("storage-b", "storage-a"):
        store.add(run_archives.archive(tmp_path, f"{host}.tar.gz", host=host))
    return store


def _expected(store: Store) -> list[Row]:
    return [row for run in store.load("latest") for row in run.rows]


def test_csv_equals_the_rows(store: Store, tmp_path: Path) -> None:
    """Header, order and values; null is empty; reasons are one text."""
    export_rows(store.folders("latest"), "csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = _expected(store)
    assert list(lines[0]) == list(COLUMNS)
    assert [line["host"] for line in lines] == ["storage-a"] * 4 + ["storage-b"] * 4
    for line, row in zip(lines, rows, strict=True):
        assert float(line["iops"]) == row.iops
        assert line["lat_p99_ns"] == line["other_cpu_percent"] == ""
        assert line["verdict_reasons"] == "tcg: no usable KVM"


def test_json_equals_the_rows(store: Store, tmp_path: Path) -> None:
    """A list of objects; null stays null; reasons stay a list."""
    export_rows(store.folders("latest"), "json", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert found == [
        {**row.as_dict(), "verdict_reasons": list(row.verdict_reasons)} for row in _expected(store)
    ]


def test_parquet_keeps_the_types(store: Store, tmp_path: Path) -> None:
    """The exported file has the columns and types of the store."""
    export_rows(store.folders("latest"), "parquet", tmp_path / "out.parquet")
    relation = duckdb.read_parquet(str(tmp_path / "out.parquet"))
    types = [str(kind) for kind in relation.types]
    assert dict(zip(relation.columns, types, strict=True)) == COLUMNS
    assert len(relation.fetchall()) == 8


def test_damaged_record_is_named(store: Store, tmp_path: Path) -> None:
    """The record that cannot be read is named."""
    folder = store.folders("latest")[0]
    (folder / "rows.parquet").write_bytes(b"rubbish")
    with pytest.raises(RecordError, match="storage-a"):
        export_rows(store.folders("latest"), "csv", tmp_path / "out.csv")
