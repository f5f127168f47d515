# SPDX-License-Identifier: GPL-3.0-or-later
"""``nvmelab parse``: fio output files as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils import fio_output
from nvmelab import units
from nvmelab.commands import console

if TYPE_CHECKING:
    from collections.abc import Sequence

_STDIN = "<stdin>"
_HEADERS = ("file", "job", "direction", "iops", "bw", "clat mean", "p50", "p99", "p99.9", "error")


def read(files: Sequence[str]) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Return the rows of the good files, a sentence about each bad one, and notes on good ones.

    A bad file gives no rows at all. ``-`` is standard input.
    """
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    notes: list[str] = []
    for file in files:
        try:
            output = _output(file)
        except fio_output.FioOutputError as error:
            problems.append(str(error))
            continue
        rows.extend(row.as_dict() for row in output.rows)
        notes.extend(f"{_STDIN if file == '-' else file}: {job}" for job in output.failed_jobs)
    return rows, problems, notes


def render(rows: Sequence[dict[str, Any]], format_: str) -> str:
    """Return the rows as ``table``, ``json`` (a list of objects) or ``csv``."""
    if format_ == "json":
        return json.dumps(rows, indent=1)
    return _csv(rows) if format_ == "csv" else _table(rows)


def _output(file: str) -> fio_output.FioOutput:
    if file == "-":
        if sys.stdin is None:
            raise fio_output.FioOutputError("is closed; wanted fio's output there", file=_STDIN)
        return fio_output.output_from_bytes(sys.stdin.buffer.read(), file=_STDIN)
    return fio_output.output_from_file(file)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fio_output.ROW_KEYS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        (
            row["file"] if row["is_last_document"] else f"{row['file']} [{row['document']}]",
            f"{row['job_name']} (sum)" if row["is_aggregate"] else row["job_name"],
            row["direction"],
            units.iops(row["iops"]),
            units.bytes_per_s(row["bw_bytes_per_s"]),
            units.ns(row["clat_mean_ns"]),
            units.ns(row["clat_p50_ns"]),
            units.ns(row["clat_p99_ns"]),
            units.ns(row["clat_p99_9_ns"]),
            str(row["error"] or ""),
        )
        for row in rows
    ]
    numbers = ("iops", "bw", "clat mean", "p50", "p99", "p99.9", "error")
    return console.table(_HEADERS, lines, right=numbers)
