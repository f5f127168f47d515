# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A point of several devices or guests: each fio's output kept as it is, and the sum of them all.

Who reads a run finds one job in the point's output, as of any other point. What each device did
is in the folder ``raw``, and in short in the point's record.
"""

# ruff: noqa: B905 (zip's strict is Python 3.10's)

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file, fio_output
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import overlap
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import summed as fio_summed
from ansible_collections.nvmelab.bench.plugins.module_utils.run import directory as run_directory
from ansible_collections.nvmelab.bench.plugins.module_utils.run import point_record
from ansible_collections.nvmelab.bench.plugins.module_utils.run.together import Talk, named

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

Event = Mapping[str, Any]

# What fio says of the command that jobs wait by: ours, and no JSON.
_GATE_NOTES = re.compile(r"\A(?:[^\n]* : Saving output of prerun in [^\n]*\.prerun\.txt\n)+")


def summed(
    directory: RunDirectory,
    point: Mapping[str, Any],
    outcome: point_record.Outcome,
    talk: Talk,
    events: Sequence[Event],
) -> point_record.Outcome:
    """Return ``outcome`` with the sum of the events of all guests; their outputs are on disk.

    One guest that failed fails the point, by its name.

    Raises:
        FileWriteError: the disk is full.
    """
    guests = [part["guest"] for part in point["parts"]]
    several = len(guests) > 1
    parts, rows, causes = [], [], []
    for share, argv, event in zip(point["parts"], talk.argvs, events):
        guest = share["guest"]
        path = directory.raw_path(point["id"], guest)
        path.parent.mkdir(exist_ok=True)
        atomic_file.write_text(path, _GATE_NOTES.sub("", event["stdout"]))
        found, cause = point_record.read_output(point, replace(outcome, event=event), str(path))
        rows += found
        causes.append(named(guest if several else None, cause) if cause else None)
        parts.append(
            {
                **share,
                "argv": argv,
                "exit_code": event["exit_code"],
                "duration_s": event.get("duration_s"),
                "raw_file": f"{path.parent.name}/{path.name}",
                "raw_sha256": run_directory.sha256(path),
                "jobs": fio_summed.jobs_of(found),
            }
        )
    bad = next((n for n, cause in enumerate(causes) if cause), None)
    whole = _whole(point, events, guests, rows) if bad is None else dict(events[bad])
    whole.update(
        cause=None if bad is None else causes[bad],
        stderr="".join(
            named(guest, event["stderr"]) for guest, event in zip(guests, events) if event["stderr"]
        ),
    )
    more = {"parts": parts, "start_s": talk.start_s, "shared_ratio": _shared_ratio(events)}
    return replace(outcome, event=whole, more=more)


def _shared_ratio(events: Sequence[Event]) -> Optional[float]:
    """Return the part of their time in which all jobs of all guests measured; None if unknown.

    Clocks of guests differ: each counts from when its jobs were let go, which was at once.
    """
    found: list[overlap.Window] = []
    for event in events:
        let_go_at = event.get("let_go_at") or event.get("agent_started_at") or 0.0
        try:
            documents = fio_output.parse_documents(event["stdout"])
        except fio_output.FioOutputError:
            return None
        own = overlap.windows(documents[-1], zero_ms=let_go_at * 1000) if documents else None
        if own is None:
            return None
        found += own
    return overlap.shared_ratio(found)


def _whole(
    point: Mapping[str, Any],
    events: Sequence[Event],
    guests: Sequence[str],
    rows: Sequence[fio_output.FioRow],
) -> dict[str, Any]:
    """Return one event for all: it took as long as the slowest."""
    document = fio_summed.summed_document(rows, job_name=f"{point['stack']}-{point['workload']}")
    document["nvmelab"]["guests"] = list(guests)
    return {
        **events[0],
        "stdout": json.dumps(document, indent=1) + "\n",
        "duration_s": max(event.get("duration_s") or 0.0 for event in events),
    }
