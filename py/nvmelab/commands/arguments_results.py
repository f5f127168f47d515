# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments of the commands that deal with results: list, show, report, parse, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nvmelab.commands.arguments import add_command, query_options, runs, store_option

if TYPE_CHECKING:
    from nvmelab.commands.arguments import Subparsers


def add_list(commands: Subparsers) -> None:
    """Add ``nvmelab list``."""
    parser = add_command(
        commands,
        "list",
        "list the runs of the store, oldest first",
        """\
examples:
  nvmelab list
  nvmelab list --format json
  nvmelab list --query "[?verdict=='clean'].run_id"
  nvmelab list --query "[-1].hosts\"""",
    )
    store_option(parser)
    query_options(parser)


def add_show(commands: Subparsers) -> None:
    """Add ``nvmelab show``."""
    parser = add_command(
        commands,
        "show",
        "show a run: verdict and skips first, then IOPS and latency of each stack",
        """\
examples:
  nvmelab show latest
  nvmelab show latest --host storage-a
  nvmelab show latest --query "[].rows[?stack=='qemu-nvme'].[workload, iodepth, iops][]"
  nvmelab show latest --query "[].{host: host, kernel: capabilities.kernel}"

--query and --format json see a list, one object a host: the manifest and its `rows`.""",
    )
    runs(parser, None)
    parser.add_argument("--host", metavar="NAME", help="only this host of the run")
    store_option(parser)
    query_options(parser)


def add_report(commands: Subparsers) -> None:
    """Add ``nvmelab report``."""
    parser = add_command(
        commands,
        "report",
        "write runs as one self-contained HTML file",
        """\
examples:
  nvmelab report latest
  nvmelab report 20261121T0900 20261122 --out compared.html""",
    )
    runs(parser)
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE")
    parser.add_argument("--table", action="store_true", help="print the terminal table as well")
    store_option(parser)


def add_parse(commands: Subparsers) -> None:
    """Add ``nvmelab parse``."""
    parser = add_command(
        commands,
        "parse",
        "read fio output, JSON or JSON+, of fio 2.0 to 3.42",
        """\
examples:
  nvmelab parse fio.json
  fio --output-format=json+ job.fio | nvmelab parse -
  nvmelab parse results/*.json --format json

One row a job and direction; text around the JSON is skipped, units are normalised, what was not
measured is a dash, empty in CSV and null in JSON.
exit codes: 0 every file read; 1 one could not be: it is named on stderr, the others are printed""",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="`-` is standard input")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")


def add_export(commands: Subparsers) -> None:
    """Add ``nvmelab export``."""
    parser = add_command(
        commands,
        "export",
        "write the rows of runs as CSV, Parquet or JSON",
        """\
examples:
  nvmelab export latest --format csv > latest.csv
  nvmelab export latest 20261121T0900 --format parquet --out both.parquet

The store needs no export for DuckDB, which reads it in place:
  duckdb -c "SELECT stack, median(iops) FROM 'results/runs/*/*/rows.parquet' GROUP BY ALL\"""",
    )
    runs(parser)
    parser.add_argument("--format", choices=("csv", "parquet", "json"), required=True)
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    store_option(parser)
