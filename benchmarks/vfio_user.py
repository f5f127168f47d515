# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure 512 B random reads over vfio-user without a VM: as the collection serves, and by hand.

    python benchmarks/vfio_user.py --spdk DIRECTORY [--rounds 5] [--seconds 2]
        [--server-cpu 0] [--client-cpu 1] [--beside-load]

DIRECTORY is a build of SPDK with nvmf_tgt and spdk_nvme_perf; hugepages must be free. Each round
serves once as module storage_target does and once with the commands of SPDK's documentation, in
turn first; the client is the same. IOPS: median [least - most] of n, and the median of each
round's ratio, the collection's to by hand. Wanted: at least 0.97, and in absolute figures what
GOALS below says for two cores without other load. --beside-load puts target and client before all
else by their autogroups: nice alone means nothing to processes of another session.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.target import storage_target
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import (
    SpdkRpc,
    SpdkRpcError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NQN = "nqn.2019-07.io.spdk:{}"
SIZE_MIB = {"bdev_malloc": 64, "bdev_null": 1024}
READY_S = 60.0
# (backend, queue depth) -> IOPS that the issue wants.
GOALS = {
    ("bdev_malloc", 16): 2_400_000,
    ("bdev_null", 16): 4_500_000,
    ("bdev_null", 128): 7_500_000,
}


@dataclass(frozen=True)
class Lab:
    """Where things are, and who gets which CPU."""

    spdk: Path
    server_cpu: int
    client_cpu: int
    seconds: int
    beside_load: bool

    def prefer(self, pid: int) -> None:
        """Put a process that leads its session before all others."""
        if self.beside_load:
            Path(f"/proc/{pid}/autogroup").write_text("-20", encoding="ascii")

    def program(self, name: str) -> str:
        """A program of the build."""
        return str(self.spdk / "build/bin" / name)


@contextlib.contextmanager
def by_collection(lab: Lab, folder: Path) -> Iterator[dict[str, str]]:
    """Serve as storage_target does; each backend's folder."""
    exports = [
        {"name": kind, "transport": "vfio-user", "backend": {"kind": kind, "size_mib": size}}
        for kind, size in SIZE_MIB.items()
    ]
    spec = {"name": "t", "kind": "spdk-nvmf-tgt", "cpus": str(lab.server_cpu), "exports": exports}
    capabilities = {"spdk": {"nvmf_tgt": lab.program("nvmf_tgt")}}
    target = storage_target.start_target(spec, directory=folder, capabilities=capabilities)
    try:
        lab.prefer(target.process.pid)
        yield {name: str(Path(path).parent) for name, path in target.sockets.items()}
    finally:
        target.stop()


@contextlib.contextmanager
def by_hand(lab: Lab, folder: Path) -> Iterator[dict[str, str]]:
    """Serve with the calls of SPDK's documentation and nothing else; each backend's folder."""
    folder.mkdir()
    socket = folder / "rpc"
    argv = [lab.program("nvmf_tgt"), "-m", hex(1 << lab.server_cpu), "-r", str(socket)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True) as tgt,
    ):
        try:
            lab.prefer(tgt.pid)
            with _ready(socket) as rpc:
                rpc.call("nvmf_create_transport", {"trtype": "VFIOUSER"})
                yield {kind: _serve(rpc, kind, folder / kind) for kind in SIZE_MIB}
        finally:
            tgt.send_signal(signal.SIGTERM)
            tgt.wait(READY_S)


def _ready(socket: Path) -> SpdkRpc:
    end = time.monotonic() + READY_S
    while True:
        try:
            rpc = SpdkRpc(socket)
            rpc.call("framework_wait_init", deadline_s=READY_S)
        except SpdkRpcError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return rpc


def _serve(rpc: SpdkRpc, kind: str, folder: Path) -> str:
    folder.mkdir()
    blocks = {"num_blocks": SIZE_MIB[kind] << 11, "block_size": 512}
    nqn = NQN.format(kind)
    address = {"trtype": "VFIOUSER", "traddr": str(folder), "trsvcid": "0"}
    calls: list[tuple[str, dict[str, Any]]] = [
        (f"{kind}_create", {"name": kind, **blocks}),
        ("nvmf_create_subsystem", {"nqn": nqn, "allow_any_host": True, "serial_number": "SPDK0"}),
        ("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {"bdev_name": kind}}),
        ("nvmf_subsystem_add_listener", {"nqn": nqn, "listen_address": address}),
    ]
    for method, params in calls:
        rpc.call(method, params)
    return str(folder)


def measure(lab: Lab, folder: str, kind: str, depth: int) -> float:
    """IOPS of spdk_nvme_perf; killed when it hangs, as it does when its target dies."""
    argv = [
        lab.program("spdk_nvme_perf"), "-c", hex(1 << lab.client_cpu), "-q", str(depth),
        "-o", "512", "-w", "randread", "-t", str(lab.seconds),
        "-r", f"trtype:VFIOUSER traddr:{folder} subnqn:{NQN.format(kind)}",
    ]  # fmt: skip
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as client:
        try:
            lab.prefer(client.pid)
            said, _ = client.communicate(timeout=lab.seconds + READY_S)
        finally:
            client.kill()
    total = re.search(r"^Total\s*:\s*([\d.]+)", said, re.MULTILINE)
    if total is None:
        sys.exit(f"{' '.join(argv)}: no total in what it printed:\n{said}")
    return float(total[1])


def main() -> None:
    """Measure, and print one line a point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spdk", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--beside-load", action="store_true")
    given = parser.parse_args()
    lab = Lab(given.spdk, given.server_cpu, given.client_cpu, given.seconds, given.beside_load)
    found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for number in range(given.rounds):
        ways = [("collection", by_collection), ("by hand", by_hand)]
        for way, serve in ways if number % 2 else reversed(ways):
            with tempfile.TemporaryDirectory() as folder, serve(lab, Path(folder) / "t") as places:
                for kind, depth in GOALS:
                    found[way, kind, depth].append(measure(lab, places[kind], kind, depth))
        print(f"round {number + 1} of {given.rounds} done", file=sys.stderr)
    for (kind, depth), goal in GOALS.items():
        ours, theirs = (found[way, kind, depth] for way in ("collection", "by hand"))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(f"{kind} QD{depth}, 512 B: collection {_told(ours)}, by hand {_told(theirs)},"
              f" ratio {ratio:.3f} (wanted 0.97), n = {given.rounds}, goal {goal / 1e6:.1f} M:"
              f" {'reached' if statistics.median(ours) >= goal else 'missed'}")  # fmt: skip


def _told(values: list[float]) -> str:
    least, most = min(values) / 1e6, max(values) / 1e6
    return f"{statistics.median(values) / 1e6:.3f} M [{least:.3f} - {most:.3f}]"


if __name__ == "__main__":
    main()
