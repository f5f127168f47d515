# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of points on the host at a storage target, without a guest."""

from __future__ import annotations

from typing import Any

from run_fakes import plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

OPTIONS = {"rw": "randread", "bs": "512", "iodepth": 1, "runtime": 1, "time_based": 1}
NULL = {"kind": "bdev_null", "size_mib": 16}


def vm_less(name: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """A point of a stack that a target serves without a guest."""
    given = {"stack": name, "device": name, "fio": OPTIONS, "client": "spdk_nvme_perf"}
    return point(number, f"host-{name}", **{**given, "runs_on": "host", "limit_s": 30.0, **more})


def served(*points: dict[str, Any], **target: Any) -> dict[str, Any]:
    """A plan of points on the host, each environment with a target."""
    made = plan(*points)
    for one in points:
        name = one["stack"]
        export = {"name": name, "transport": "vfio-user", "backend": NULL, "num_queues": 1}
        whole = {"name": f"nvmf-tgt-{name}", "kind": "spdk-nvmf-tgt", "cpus": None,
                 "shares_cores": True, "exports": [export], **target}  # fmt: skip
        environment = {"targets": [whole], "guest": None, "host_files": []}
        made["environments"][one["environment"]] = environment
    return made


def reasons(directory: RunDirectory) -> list[str | None]:
    """Why each point failed, in the order of the plan."""
    points = directory.plan()["points"]
    return [(directory.record(one["id"]) or {"reason": "no record"})["reason"] for one in points]
