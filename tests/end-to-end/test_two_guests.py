# SPDX-License-Identifier: GPL-3.0-or-later
"""Two devices in each of two real guests: one point drives all four, and its row is their sum."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bench_lab import Lab

EXPERIMENT = "tests/end-to-end/experiments/two-guests.yml"


def test_a_point_is_the_sum_of_four_devices_in_two_guests(
    lab: Lab, tiny_run: dict[str, Any]
) -> None:
    """Four jobs in two guests, each with I/O of its own; IOPS and I/Os of the row add up."""
    assert tiny_run["directory"].is_dir()  # the image is there
    before = set(lab.runs())
    argv = lab.playbook(
        "full-bench", "-e", f"nvmelab_experiment={EXPERIMENT}", "-e", "nvmelab_report=/dev/null"
    )
    done = lab.run(argv)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    (directory,) = set(lab.runs()) - before
    record = json.loads((directory / "points/0001.json").read_text("utf-8"))
    assert record["state"] == "ok", record["reason"]
    jobs = [job for part in record["parts"] for job in part["jobs"]]
    assert [job["job"] for job in jobs] == [
        *("qemu-nvme_1", "qemu-nvme_2", "qemu-nvme_g2_1", "qemu-nvme_g2_2"),
    ]
    assert all(job["iops"] > 0 for job in jobs)
    document = json.loads((directory / "points/0001.fio.json").read_text("utf-8"))
    (summed,) = document["jobs"]
    assert summed["read"]["iops"] == pytest.approx(sum(job["iops"] for job in jobs))
    raw = sorted(path.name for path in (directory / "raw").iterdir())
    assert raw == [f"0001.guest-qemu-nvme_{n}.fio.json" for n in (1, 2)]
