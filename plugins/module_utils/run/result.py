# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run directory holds, small enough to be a module's result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils import fio_output
from ansible_collections.nvmelab.bench.plugins.module_utils.client import output as client_output
from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.run import executor, manifest

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

# ansible-runner hands on an empty result, without a word, above 700 000 characters.
ROWS_CHARACTERS_MAX = 600_000
RUN_COLUMNS = (
    *("run_id", "host", "state", "reason", "started_at", "finished_at", "experiment", "verdict"),
    *("points_planned", "points_done", "points_failed", "durations_s", "skips"),
    "remarks",
)
POINT_COLUMNS = ("stack", "workload", "environment", "repetition", "runs_on", "client")
ROW_COLUMNS = (
    *("job_name", "direction", "is_aggregate", "rw", "bs", "iodepth", "numjobs", "ioengine"),
    *("iops", "bw_bytes_per_s", "total_ios", "runtime_ms", "clat_mean_ns", "clat_p50_ns"),
    *("clat_p99_ns", "clat_p99_9_ns", "lat_mean_ns", "error"),
)


def summary(directory: RunDirectory) -> dict[str, Any]:
    """Return the manifest's essentials and the rows of all good points, without histograms.

    Keys: ``run`` (essentials, counts, verdict, durations), ``rows``, ``rows_left_out``: how many
    rows there are when they were too many to hand over, else 0.
    """
    content = directory.manifest() or {}
    run = {name: content.get(name) for name in RUN_COLUMNS}
    rows = rows_of(directory)
    is_small = len(json.dumps(rows)) <= ROWS_CHARACTERS_MAX
    return {
        "run": run,
        "rows": rows if is_small else [],
        "rows_left_out": 0 if is_small else len(rows),
    }


def rows_of(directory: RunDirectory) -> list[dict[str, Any]]:
    """Return one row a good point, job and direction, in plan order."""
    rows = []
    for record in manifest.records_of(directory):
        if record["state"] == "ok":
            rows += _rows(directory, record)
    return rows


def failure(directory: RunDirectory) -> str:
    """Return one text that says why a run is not complete and where to look.

    Raises:
        RunDirectoryError: the run left nothing that could be read.
    """
    content = directory.manifest()
    log = directory.logs / "executor.log"
    if content is None:
        return f"run {directory.run_id}: the executor wrote no manifest; see {log}"
    failed = content["points_failed"]
    reason = content["reason"] or "no reason given"
    if failed:  # each cause follows, the first one's too
        reason = reason.partition(manifest.THE_FIRST)[0]
    parts = [f"run {directory.run_id}: {content['state']}: {reason}"]
    if failed:
        parts.append(f"failed points: {'; '.join(_causes(failed))}")
    remarks = content.get("remarks") or ()
    if remarks:  # the table has them; what is odd must not drown the cause
        parts.append(
            f"{len(remarks)} remark{'s' * (len(remarks) > 1)} in {directory.manifest_path}"
        )
    parts.append(f"logs: {directory.logs}")
    return "; ".join(parts)


def _causes(failed: Sequence[Mapping[str, Any]], shown: int = 4) -> list[str]:
    """Return each cause once, with the points that it failed, in run order, and kept from running.

    The points after the one whose place was lost were not run, for the same cause.
    """
    ids: dict[str, tuple[list[str], list[str]]] = {}
    for one in failed:
        reason = str(one["reason"])
        cause = reason.removeprefix(executor.NOT_RUN)
        ids.setdefault(cause, ([], []))[cause != reason].append(str(one["id"]))
    told = [_cause(cause, *kinds) for cause, kinds in ids.items()]
    more = len(told) - shown
    return [*told[:shown], *([f"and {more} more causes"] if more > 0 else [])]


def _cause(cause: str, ran: Sequence[str], not_run: Sequence[str]) -> str:
    if not ran:
        return f"{_names(not_run)}: {executor.NOT_RUN}{cause}"
    kept = f" (so {_names(not_run)} not run)" if not_run else ""
    return f"{_names(ran)}{kept}: {cause}"


def _names(names: Sequence[str], shown: int = 12) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _rows(directory: RunDirectory, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    record = {"client": workload.FIO, **record}  # before there were others
    head = {"point": record["id"], **{name: record[name] for name in POINT_COLUMNS}}
    head["verdict"] = record["verdict"]["state"]
    return [{**head, **{name: getattr(row, name) for name in ROW_COLUMNS}}
            for row in _rows_of_output(directory, record)]  # fmt: skip


def _rows_of_output(
    directory: RunDirectory, record: Mapping[str, Any]
) -> Sequence[fio_output.FioRow]:
    client = record["client"]
    path = directory.output_path(record["id"], client)
    if client == workload.FIO:
        return fio_output.rows_from_file(path)
    text = path.read_text("utf-8", errors="replace")
    return [client_output.row_of(client, text, record["fio_options"], file=str(path))]
