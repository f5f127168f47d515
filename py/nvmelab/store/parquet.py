# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows and histograms to Parquet and back, by DuckDB, with the columns' types said, not guessed."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from nvmelab.store.records import (
    COLUMNS,
    FIRST_CLIENT,
    HISTOGRAM_COLUMNS,
    Histograms,
    RecordError,
    Row,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import duckdb

_ROWS = "SELECT * FROM {reader}"
# A histogram is staged as one line, its buckets as pairs; in the file each bucket is a row.
_STAGED_HISTOGRAM = {
    **{name: sql for name, sql in HISTOGRAM_COLUMNS.items() if sql == "VARCHAR"},
    "bins": "BIGINT[][]",
}
_HISTOGRAMS = """
    SELECT * EXCLUDE (bins, bin), bin[1] AS value_ns, bin[2] AS "count"
    FROM (SELECT *, unnest(bins) AS bin FROM {reader})
"""
_import_lock = threading.Lock()


def connect() -> duckdb.DuckDBPyConnection:
    """Return a new in-memory DuckDB that never reaches for the network."""
    # 0.2 s, which `--help` and `parse` need not wait for; collect warms it in a thread.
    with _import_lock:
        import duckdb  # noqa: PLC0415

    return duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "threads": "2",
        }
    )


def warm_up() -> None:
    """Load DuckDB; for a thread that runs while something else is waited for."""
    connect().close()


def literal(text: object) -> str:
    """Return the text as an SQL string, for the places where DuckDB takes no parameter."""
    return "'" + str(text).replace("'", "''") + "'"


def write_record(
    folder: Path, rows: Iterable[Row], histograms: Histograms, *, run_id: str, host: str
) -> None:
    """Write ``rows.parquet`` and ``histograms.parquet``; empty ones have their columns too.

    DuckDB reads JSON lines some hundred times faster than it takes rows one by one.
    """
    lines = (
        {"run_id": run_id, "host": host, "point_id": point_id, "direction": direction,
         "kind": kind, "bins": bins}
        for (point_id, direction, kind), bins in histograms.items()
    )  # fmt: skip
    with connect() as database:
        rows_lines = (row.as_dict() for row in rows)
        _copy(database, rows_lines, COLUMNS, _ROWS, folder / "rows.parquet")
        _copy(database, lines, _STAGED_HISTOGRAM, _HISTOGRAMS, folder / "histograms.parquet")


def read_rows(path: Path) -> list[Row]:
    """Return the rows; columns that an older record lacks are ``None``.

    Raises:
        RecordError: the file is damaged.
    """
    rows = []
    for values in _select(path):
        known: dict[str, Any] = {name: values.get(name) for name in COLUMNS}
        known["verdict_reasons"] = tuple(known["verdict_reasons"] or ())
        known["client"] = known["client"] or FIRST_CLIENT
        rows.append(Row(**known))
    return rows


def read_histograms(path: Path) -> Histograms:
    """Return the histograms, each by rising latency.

    Raises:
        RecordError: the file is damaged.
    """
    histograms: Histograms = {}
    for line in _select(path):
        key = (line["point_id"], line["direction"], line["kind"])
        histograms.setdefault(key, []).append((line["value_ns"], line["count"]))
    return {key: sorted(bins) for key, bins in histograms.items()}


def _copy(
    database: duckdb.DuckDBPyConnection,
    lines: Iterable[dict[str, Any]],
    columns: dict[str, str],
    query: str,
    target: Path,
) -> None:
    """Write what ``query`` makes of the lines, whose ``columns`` have these types."""
    staged = target.with_suffix(".ndjson")
    with staged.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    types = ", ".join(f"{literal(name)}: {literal(sql)}" for name, sql in columns.items())
    reader = f"read_json({literal(staged)}, format='newline_delimited', columns={{{types}}})"
    database.execute(
        f"COPY ({query.format(reader=reader)}) TO {literal(target)}"
        " (FORMAT parquet, COMPRESSION zstd)"
    )
    staged.unlink()


def _select(path: Path) -> list[dict[str, Any]]:
    with connect() as database:
        import duckdb  # noqa: PLC0415

        try:
            result = database.execute("SELECT * FROM read_parquet($1)", [str(path)])
            names = [column[0] for column in result.description or ()]
            lines: Sequence[tuple[Any, ...]] = result.fetchall()
        except duckdb.Error as error:
            raise RecordError(f"{path}: cannot be read: {error}") from error
    return [dict(zip(names, line, strict=True)) for line in lines]
