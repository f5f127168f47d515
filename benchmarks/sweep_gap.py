# SPDX-License-Identifier: GPL-3.0-or-later
"""How long nothing is measured between two points of a sweep, told from run directories.

    python benchmarks/sweep_gap.py RUN_DIRECTORY…          runs that were made before
    python benchmarks/sweep_gap.py --points 30             30 points of fio's null engine, here

The gap is the time from the end of one fio process to the start of the next one, by the clock of
the machine that fio runs on. The target is 0.3 s, also in a guest under TCG.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    agent_connection,
    executor,
    sweep_plan,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

TARGET_S = 0.3
FIO = {"rw": "randread", "ioengine": "null", "size": "1g", "time_based": 1, "runtime": "200ms"}


def measure_here(folder: Path, count: int) -> Path:
    """Run so many short points on this machine; their run directory."""
    points = [{"id": f"{number:04d}", "fio": FIO} for number in range(count)]
    directory = RunDirectory(folder / "gap")
    directory.create(sweep_plan.plan_of(points, run_id="gap", disposable_devices=[]))
    source = agent_connection.agent_source()
    state = executor.execute(executor.Job(directory, capabilities={}, agent_source=source))
    if state != "complete":
        raise SystemExit(f"{directory.path}: {state}: {(directory.manifest() or {})['reason']}")
    return directory.path


def gaps_of(run: Path) -> dict[str, list[float]]:
    """Return the gaps of a run in seconds, by where the points ran."""
    gaps = defaultdict(list)
    for path in sorted((run / "points").glob("[0-9]*.json")):
        if not path.name.endswith(".fio.json"):
            record = json.loads(path.read_text("utf-8"))
            if record.get("gap_s") is not None:
                gaps[record["runs_on"]].append(record["gap_s"])
    return gaps


def row(run: Path, place: str, gaps: list[float]) -> str:
    """Return one line of the table."""
    p95 = statistics.quantiles(gaps, n=20, method="inclusive")[-1] if len(gaps) > 1 else gaps[0]
    judged = "ok" if statistics.median(gaps) <= TARGET_S else "too long"
    numbers = "  ".join(f"{one:7.3f}" for one in (statistics.median(gaps), p95, max(gaps)))
    return f"{run.name:32}  {place:5}  {len(gaps):4}  {numbers}  {judged}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN_DIRECTORY")
    parser.add_argument("--points", type=int, default=30, help="without a run directory: how many")
    options = parser.parse_args()
    print(f"{'run':32}  where     n  median_s    p95_s    max_s  target {TARGET_S} s")
    with tempfile.TemporaryDirectory() as folder:
        for run in options.runs or [measure_here(Path(folder), options.points)]:
            for place, gaps in sorted(gaps_of(run).items()):
                print(row(run, place, gaps))


if __name__ == "__main__":
    main()
