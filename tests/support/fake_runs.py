# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs made up from a seed, with the shape of real ones, for tests and pictures of the report."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from nvmelab.store.records import COLUMNS, Histograms, Row, Run

TCG = {"code": "tcg", "text": "guest ran under TCG (no usable KVM: a test guest did not start)"}
RUN_ID = "20260102T030405Z-quick-0a1b"


def row(**values: Any) -> Row:
    """A row of a usual point; what is given wins."""
    usual: dict[str, Any] = {
        **dict.fromkeys(COLUMNS),
        "run_id": RUN_ID,
        "host": "localhost",
        "point_id": "0001",
        "environment": "guest-1",
        "stack": "virtio-blk",
        "workload": "randread-4k",
        "repetition": 1,
        "runs_on": "guest",
        "rw": "randread",
        "bs": "4k",
        "iodepth": 1,
        "numjobs": 1,
        "client": "fio",
        "ioengine": "libaio",
        "fio_version": "fio-3.33",
        "direction": "read",
        "verdict": "clean",
        "verdict_reasons": (),
    }
    return Row(**{**usual, **values})


def manifest(**values: Any) -> dict[str, Any]:
    """A manifest of a usual complete run; what is given wins."""
    usual: dict[str, Any] = {
        "schema_version": 1,
        "run_id": RUN_ID,
        "host": "localhost",
        "hostname": "lab-1",
        "state": "complete",
        "reason": None,
        "nvmelab_version": "0.1.0",
        "started_at": "2026-01-02T03:04:05Z",
        "finished_at": "2026-01-02T03:05:20Z",
        "experiment": {"name": "quick", "digest": "f587bd2ba10814723dd46668da7b98d48829f84b"},
        "seed": 7,
        "repetitions": 2,
        "layout": "shared-guest",
        "skips": [],
        "points_planned": 1,
        "points_done": 1,
        "points_failed": [],
        "capabilities": {"cpu_count": 2, "accelerator": {"name": "kvm", "kvm_usable": True}},
        "conditions": {"before": {}, "after": {}},
        "verdict": {"state": "clean", "reasons": []},
        "commands": {},
        "durations_s": {},
        "record": {"schema_version": 1, "experiment": {}},
    }
    return {**usual, **values}


def stack(model: str, **values: Any) -> dict[str, Any]:
    """A stack as a resolved experiment holds it."""
    usual: dict[str, Any] = {
        "description": None,
        "backend": {"kind": "null-co", "size_mib": 1024},
        "server": "qemu",
        "transport": "emulated",
        "device": {"model": model, "properties": {}, "iothreads": 0},
        "driver": model.replace("-", "_"),
        "engine": {},
        "runs_on": "guest",
        "ceiling": False,
    }
    return {**usual, **values}


NONE = {"model": "none", "properties": {}, "iothreads": 0}
STACKS: dict[str, tuple[float, float, dict[str, Any]]] = {
    # name: latency alone in ns, I/Os per second at most, document
    "qemu-nvme": (290e3, 6200, stack("nvme", description="As QEMU ships it")),
    "qemu-nvme-ioeventfd": (
        310e3, 9100,
        stack("nvme", device={"model": "nvme", "properties": {"ioeventfd": "on"}, "iothreads": 0}),
    ),
    "virtio-blk": (205e3, 13800, stack("virtio-blk")),
    "virtio-blk-iothread": (
        190e3, 15900,
        stack("virtio-blk", device={"model": "virtio-blk", "properties": {}, "iothreads": 1}),
    ),
    "virtio-blk-packed": (
        207e3, 13700,
        stack(
            "virtio-blk",
            device={"model": "virtio-blk", "properties": {"packed": "on"}, "iothreads": 0},
        ),
    ),
    "virtio-scsi": (260e3, 9000, stack("virtio-scsi")),
    "qsd-vhost-user-blk": (
        230e3, 12500,
        stack(
            "vhost-user-blk", server="qemu-storage-daemon", transport="vhost-user",
            driver="virtio_blk",
        ),
    ),
    "guest-null": (
        9e3, 88000,
        stack(
            "none", backend={"kind": "none"}, server="none", transport="none", device=NONE,
            driver="none", engine={"ioengine": "null"}, ceiling=True,
        ),
    ),
    "host-ram-file": (
        4e3, 310000,
        stack(
            "none", backend={"kind": "ram", "size_mib": 256}, server="none", transport="none",
            device=NONE, driver="none", runs_on="host", ceiling=True,
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Lab:
    """What a made-up run is made from."""

    host: str = "localhost"
    run_id: str = RUN_ID
    speed: float = 1.0
    noise: float = 0.02
    repetitions: int = 2
    depths: tuple[int, ...] = (1, 16)
    workloads: tuple[tuple[str, str, str], ...] = (("randread-4k", "randread", "4k"),)
    is_emulated: bool = True
    seed: int = 1


def fake_run(lab: Lab | None = None) -> Run:
    """A whole run: every stack, all its histograms, conditions and commands."""
    lab = lab or Lab()
    draw = random.Random(lab.seed)  # noqa: S311
    rows: list[Row] = []
    histograms: Histograms = {}
    plan = [
        (name, load, depth, repetition)
        for repetition in range(1, lab.repetitions + 1)
        for load in lab.workloads
        for depth in lab.depths
        for name in STACKS
    ]
    draw.shuffle(plan)
    for place, (name, load, depth, repetition) in enumerate(plan, 1):
        _measure(lab, draw, f"{place:04}", (name, load, depth, repetition), rows, histograms)
    return Run.from_parts(_manifest(lab, len(plan)), rows, histograms)


def _measure(
    lab: Lab, draw: random.Random, point_id: str, point: Any, rows: Any, histograms: Any
) -> None:
    name, (workload, rw, bs), depth, repetition = point
    alone_ns, most, document = STACKS[name]
    drift = draw.gauss(1, lab.noise)
    size = 1 + (0.6 if bs != "4k" else 0)
    clat = max(alone_ns * size, depth / most * 1e9 * size) / lab.speed * drift
    total = int(depth / clat * 1e9)
    bins = _bins(draw, clat, min(total, 3000), total)
    directions = ("read", "write") if rw == "randrw" else ("write" if "write" in rw else "read",)
    for direction in directions:
        share = 1 / len(directions)
        histograms[point_id, direction, "clat"] = [(v, max(1, int(c * share))) for v, c in bins]
        rows.append(row(
            run_id=lab.run_id, host=lab.host, point_id=point_id, stack=name, workload=workload,
            rw=rw, bs=bs, iodepth=depth, repetition=repetition, direction=direction,
            runs_on=document["runs_on"], ioengine=document["engine"].get("ioengine", "libaio"),
            environment="host" if document["runs_on"] == "host" else "guest-1",
            iops=total * share, bw_bytes_per_s=int(total * share) * 4096, runtime_ms=1000,
            total_ios=int(total * share), clat_mean_ns=clat, clat_stddev_ns=clat / 4,
            clat_p50_ns=int(clat * 0.95), clat_p99_ns=int(clat * 2.2), lat_mean_ns=clat * 1.02,
            verdict="tainted" if lab.is_emulated and document["runs_on"] == "guest" else "clean",
            verdict_reasons=(f"{TCG['code']}: {TCG['text']}",)
            if lab.is_emulated and document["runs_on"] == "guest" else (),
        ))  # fmt: skip


def _bins(draw: random.Random, clat: float, drawn: int, total: int) -> list[tuple[int, int]]:
    """Log-normal with a tail of one in 300, in fio's bins: 64 to a power of two."""
    found: Counter[int] = Counter()
    for _ in range(drawn):
        value = int(
            draw.lognormvariate(0, 0.18) * clat * 0.96 * (6 if draw.random() < 0.003 else 1)
        )
        step = max(1, 1 << max(0, value.bit_length() - 7))
        found[value // step * step + step // 2] += 1
    return sorted((value, max(1, count * total // max(1, drawn))) for value, count in found.items())


def _manifest(lab: Lab, points: int) -> dict[str, Any]:
    accelerator = (
        {"name": "tcg", "kvm_usable": False, "reason": "/dev/kvm is there, a test guest hung"}
        if lab.is_emulated
        else {"name": "kvm", "kvm_usable": True, "reason": "a test guest booted in 0.4 s"}
    )
    qemu = [
        "/usr/bin/qemu-system-x86_64",
        "-machine",
        "q35,accel=tcg",
        "-cpu",
        "max",
        "-append",
        "root=PARTUUID=1 console=ttyS0",
        "-device",
        "nvme,serial=nvmelab,addr=10.0",
    ]
    fio = ["fio", "--name=nvmelab", "--rw=randread", "--bs=4k", "--iodepth=16", "--direct=1",
           "--output-format=json+", "--filename=/dev/nvme0n1"]  # fmt: skip
    before = {"governor": "performance", "smt": "off", "load_1m": 0.05,
              "cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet", "kernel": "6.1.0-50-amd64",
              "cpu_model": "AMD EPYC 7B13", "memory_mib": 24000}  # fmt: skip
    return manifest(
        run_id=lab.run_id, host=lab.host, repetitions=lab.repetitions, points_planned=points,
        points_done=points,
        skips=[{"stack": "spdk-vfio-user",
                "reason": "QEMU 7.2.22 has no device vfio-user-pci (upstream since 10.1)"}],
        capabilities={
            "cpu_count": 2, "memory_mib": 24000, "kernel": "6.1.0-50-amd64",
            "is_virtual_machine": True, "accelerator": accelerator,
            "qemu": {"path": "/usr/bin/qemu-system-x86_64", "version": "7.2.22",
                     "devices": {"nvme": ["ioeventfd", "mdts"]}},
            "qemu_storage_daemon": {"path": "/usr/bin/qemu-storage-daemon", "version": "7.2.22"},
            "spdk": {"nvmf_tgt": None, "vhost": None, "version": None},
            "fio": {"path": "/usr/bin/fio", "version": "3.33", "engines": ["libaio", "null"]},
            "guest_image": {"name": "bookworm", "digest": "0123456789ab", "boot": "direct",
                            "kernel_release": "6.1.0-50-cloud-amd64", "fio_version": "fio-3.33"},
        },
        conditions={"before": before, "after": {**before, "load_1m": 1.31}},
        verdict={"state": "tainted", "reasons": [TCG]} if lab.is_emulated
        else {"state": "clean", "reasons": []},
        commands={"guest-1": {"qemu": qemu},
                  "qsd-vhost-user-blk": ["/usr/bin/qemu-storage-daemon", "--export", "vhost-user"]},
        durations_s={"guest_boot": 6.31, "sweep": 62.0, "gap_median": 0.08, "total": 75.2},
        record={"schema_version": 1, "fio_commands": {"0001": fio, "0002": fio},
                "experiment": {
                    "name": "quick", "description": "Every path that a bare machine can build",
                    "workloads": [{"name": name} for name, *_ in lab.workloads],
                    "stacks": {name: document for name, (_, _, document) in STACKS.items()},
                }},
    )  # fmt: skip
