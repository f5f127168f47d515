# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that swept devices, cores and guests, made up by a rule that can be worked out by hand.

A device gives 4 M IOPS at most, a core of the target 5 M, all vCPUs of a guest 16 M: the least of
the three, summed over what there is, is what is measured.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fake_runs import TCG, manifest, row, stack

from nvmelab.experiment.stack_sweep import expand
from nvmelab.store.records import Row, Run

A_DEVICE, A_CORE, A_GUEST = 4e6, 5e6, 16e6


def swept(**sizes: Any) -> dict[str, Any]:
    """A stack in an experiment file, of these sizes; lists are swept."""
    usual = stack(
        "vfio-user-pci",
        backend={"kind": "bdev_malloc", "size_mib": 64},
        server="spdk-nvmf-tgt",
        transport="vfio-user",
        driver="uio_pci_generic",
        client="fio",
    )
    return {**usual, **sizes}


def resolved(stacks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The stacks as the resolved experiment holds them: each size by itself."""
    sizes = {"server_cores": None, "server_cpus": None, "devices": 1, "guests": 1}
    data = expand({"stacks": stacks}).data["stacks"]
    return {name: {**sizes, **one} for name, one in data.items()}


def expected_iops(one: dict[str, Any]) -> float:
    """What the rule gives for a size."""
    guests = one["guests"] * min(one["devices"] * A_DEVICE, A_GUEST)
    return min(guests, (one["server_cores"] or 1) * A_CORE)


def scaling_run(
    stacks: dict[str, dict[str, Any]],
    *,
    repetitions: int = 3,
    depths: tuple[int, ...] = (16,),
    noise: float = 0.0,
    is_emulated: bool = False,
    measured: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> Run:
    """A whole run of these stacks.

    ``noise``: standard deviation of the repetitions' ratios. ``measured``: IOPS of the repetitions
    of a stack, by its whole name, where they are not by the rule; none of a stack that failed.
    """
    draw = random.Random(1)  # noqa: S311
    every = resolved(stacks)
    reasons = (f"{TCG['code']}: {TCG['text']}",) if is_emulated else ()
    rows: list[Row] = []
    for name, one in every.items():
        usual = [expected_iops(one)] * repetitions
        for depth in depths:
            for repetition, told in enumerate(measured.get(name, usual), 1):
                iops = told * draw.gauss(1, noise) * min(1, depth / 16)
                rows.append(row(
                    point_id=f"{len(rows) + 1:04}", stack=name, workload="randread-512", bs="512",
                    iodepth=depth, repetition=repetition, ioengine="xnvme", iops=iops,
                    device_count=one["devices"] * one["guests"], lat_mean_ns=4e3, total_ios=1,
                    verdict="tainted" if is_emulated else "clean", verdict_reasons=reasons,
                ))  # fmt: skip
    record = {
        "schema_version": 2,
        "experiment": {"name": "scaling", "description": "Sizes", "stacks": every,
                       "workloads": [{"name": "randread-512"}]},
    }  # fmt: skip
    return Run.from_parts(
        manifest(record=record, points_planned=len(rows), points_done=len(rows)), rows
    )
