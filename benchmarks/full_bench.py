# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints where the time of a whole `nvmelab run` goes, over several warm runs.

    python benchmarks/full_bench.py [--runs 3] [-i inventories/lab] [--experiment quick]

Each run is the command a user types. From its wall time and from what its manifest says, the table
shows fio's own time (runtime and ramp of every point), everything else, the gap between two points
of a stretch and the guest's start to first login: median [least - most] over the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def measure_once(inventory: str, experiment: str, store: Path) -> dict[str, float]:
    """Seconds of one run, by part; raises CalledProcessError when the run fails."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "nvmelab", "run", "-i", inventory, "--experiment", experiment,
         "--store", str(store), "--report", str(store / "report.html")],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wall_s = time.monotonic() - began
    newest = max(store.glob("runs/*/*/manifest.json"), key=os.path.getmtime)
    manifest: dict[str, Any] = json.loads(newest.read_text("utf-8"))
    durations: dict[str, float] = manifest["durations_s"]
    return {
        "points": manifest["points_done"],
        "wall_s": wall_s,
        "fio_s": durations["fio"],
        "not_fio_s": wall_s - durations["fio"],
        "gap_between_points_s": durations["gap_median"],
        "guest_start_to_login_s": durations["guest_boot"],
    }


def print_table(samples: list[dict[str, float]]) -> None:
    """One row a part: median [least - most] (n)."""
    print(f"{'part':26} {'median':>8}   least - most   n")
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        print(
            f"{key:26} {statistics.median(values):8.2f}   {min(values):.2f} - {max(values):.2f}"
            f"   {len(values)}"
        )


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", "--inventory", default="inventories/lab")
    parser.add_argument("--experiment", default="quick")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        samples = []
        for number in range(given.runs):
            print(f"run {number + 1} of {given.runs}", file=sys.stderr)
            samples.append(measure_once(given.inventory, given.experiment, Path(place)))
    print_table(samples)


if __name__ == "__main__":
    main()
