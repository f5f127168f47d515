# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes from an experiment's plan to the first I/O that a guest does over vfio-user.

    python benchmarks/first_io.py --root DIRECTORY --spdk DIRECTORY [--qemu PATH]
        [--guest-prefix DIRECTORY]... [--vcpus 1] [--guest-cpus LIST] [--runs 5]
        [--accelerator auto]

DIRECTORY of --root is a lab host's, with its keys and a guest image; hugepages must be free. Each
run is the executor's, of a plan with one point, whose fio reads one block: start SPDK's target and
QEMU, boot, log in, bring builds, bind, start the agent and fio. With builds of fio, xNVMe and uPCIe
for the guest (--guest-prefix, one each) the guest's kernel and uPCIe take turns, else it is the
kernel alone. The parts are what progress.json said was being done; the last is fio, until it has
read its block and ended. Wanted: at most 10 s on two CPUs without KVM and without other load.
Median [least - most] of n.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.nvmelab.bench.plugins.module_utils.host import capabilities
from ansible_collections.nvmelab.bench.plugins.module_utils.run import agent_connection, executor
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory
from nvmelab.experiment.document import load_experiment
from nvmelab.plan.points import make_plan

TARGET_S = 10.0
LOOK_S = 0.01
TOTAL = "first I/O"
STACK: dict[str, Any] = {
    "backend": {"kind": "bdev_malloc", "size_mib": 64},
    "server": "spdk-nvmf-tgt",
    "transport": "vfio-user",
    "device": {"model": "vfio-user-pci"},
}
KERNEL = {**STACK, "driver": "nvme", "engine": {"ioengine": "io_uring"}}
UPCIE = {**STACK, "driver": "uio_pci_generic", "engine": {"ioengine": "xnvme"}}


def experiment_of(stack: dict[str, Any], guest: dict[str, Any]) -> dict[str, Any]:
    """An experiment of one point that reads one block."""
    one = {"name": "one", "rw": "randread", "bs": "4k", "direct": 1, "number_ios": 1, "runtime": 1}
    return {
        "schema": 1,
        "name": "first-io",
        "description": "One read",
        "repetitions": 1,
        "guest": guest,
        "workloads": [one],
        "stacks": {"device": stack},
    }


class Watch(threading.Thread):
    """Keeps when progress.json was first seen to say each phase, as seconds of the epoch."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._over = threading.Event()
        self.phases: dict[str, float] = {}

    def run(self) -> None:
        """Look until told to end."""
        while not self._over.wait(LOOK_S):
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(self._path.read_text("utf-8"))
                self.phases.setdefault(content["phase"], content["updated_at"])

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()


def measure_once(folder: Path, plan: dict[str, Any], found: dict[str, Any]) -> dict[str, float]:
    """Seconds of one run until its first I/O, by part and in all."""
    directory = RunDirectory(folder / "runs" / "first-io")
    directory.create(plan)
    watch = Watch(directory.progress_path)
    watch.start()
    began = time.time()
    source = agent_connection.agent_source()
    state = executor.execute(executor.Job(directory, found, source))
    watch.end()
    record = directory.record(plan["points"][0]["id"])
    if state != "complete" or record is None:
        raise SystemExit(f"{state}: {(directory.manifest() or {})['points_failed']}")
    return parts_of(began, watch.phases, record["ended_at"])


def parts_of(began: float, phases: dict[str, float], ended: float) -> dict[str, float]:
    """The time between each phase and the next, until fio had ended."""
    names = [name for name in phases if phases[name] < ended]
    ends = [*(phases[name] for name in names[1:]), ended]
    parts = {"to begin": phases[names[0]] - began}
    for name, end in zip(names, ends, strict=True):
        parts["find the device, fio" if name == "measuring" else name] = end - phases[name]
    return {**parts, TOTAL: ended - began}


def main() -> None:
    """Measure, and print a table a stack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--spdk", required=True)
    parser.add_argument("--qemu")
    parser.add_argument("--guest-prefix", action="append", default=[])
    parser.add_argument("--vcpus", type=int, default=1)
    parser.add_argument("--guest-cpus", help="the target polls the last CPU of the host")
    parser.add_argument("--memory-mib", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--accelerator", default="auto")
    given = parser.parse_args()
    found = capabilities.probe(
        given.root,
        qemu_path=given.qemu,
        spdk_directory=given.spdk,
        guest_prefixes=given.guest_prefix,
        wanted_accelerator=given.accelerator,
    )
    guest = {"vcpus": given.vcpus, "memory_mib": given.memory_mib}
    if given.guest_cpus:
        guest["cpus"] = given.guest_cpus
    stacks = {"kernel": KERNEL, **({"uPCIe": UPCIE} if given.guest_prefix else {})}
    seen: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(given.runs):
        for name, stack in stacks.items():
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "experiment.yml"
                wanted = experiment_of(stack, guest)
                file.write_text(yaml.safe_dump(wanted), encoding="utf-8")
                plan = make_plan(load_experiment(file), found, run_id="first-io")
                seen[name].append(measure_once(Path(folder), plan, found))
    for name, samples in seen.items():
        print_table(f"{name}, {found['accelerator']['name']}, {given.vcpus} vCPUs", samples)


def print_table(title: str, samples: list[dict[str, float]]) -> None:
    """One row a part, the whole last: median [least - most]."""
    print(f"{title}, n = {len(samples)}")
    parts = dict.fromkeys(part for sample in samples for part in sample if part != TOTAL)
    for part in (*parts, TOTAL):
        # A phase that is over before it is looked for is not seen.
        values = [sample.get(part, 0.0) for sample in samples]
        middle = statistics.median(values)
        judged = f"  {'reached' if middle <= TARGET_S else 'missed'}" if part == TOTAL else ""
        print(f"  {part:28} {middle:6.2f} [{min(values):.2f} - {max(values):.2f}] s{judged}")


if __name__ == "__main__":
    main()
