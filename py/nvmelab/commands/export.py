# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of runs as one CSV, Parquet or JSON file, for other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nvmelab.store import parquet
from nvmelab.store.records import COLUMNS, RecordError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMATS = ("csv", "parquet", "json")
_OPTIONS = {
    "csv": "FORMAT csv, HEADER",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "json": "FORMAT json, ARRAY true",
}


def export_rows(folders: Sequence[Path], format_: str, target: Path) -> None:
    """Write every row of the records in ``folders`` to ``target``, by run, host and point.

    In CSV the reasons of a verdict are one text, parted by "; "; not measured is empty.

    Raises:
        RecordError: a record's file is damaged.
    """
    files = ", ".join(parquet.literal(folder / "rows.parquet") for folder in folders)
    columns = ", ".join(_column(name, format_) for name in COLUMNS)
    query = (
        f"SELECT {columns} FROM read_parquet([{files}], union_by_name = true)"  # noqa: S608
        " ORDER BY run_id, host, point_id, direction, job_name"
    )
    with parquet.connect() as database:
        import duckdb  # noqa: PLC0415 (connect has loaded it)

        try:
            database.execute(f"COPY ({query}) TO {parquet.literal(target)} ({_OPTIONS[format_]})")
        except duckdb.Error as error:
            raise RecordError(f"export to {target}: {error}") from error


def _column(name: str, format_: str) -> str:
    if format_ == "csv" and COLUMNS[name].endswith("[]"):
        return f"array_to_string({name}, '; ') AS {name}"
    return name
