# SPDX-License-Identifier: GPL-3.0-or-later
"""Time `nvmelab collect` against plain Ansible fetching one archive from each host.

    python benchmarks/collect.py -i INVENTORY [--points 100] [--rounds 5]

Puts one finished run of so many points on every host, below a folder of its own, which it removes
at the end. Then, in turn: plain Ansible, one play with one `fetch` of an archive that is there
already; `nvmelab collect` into an empty store (packs, fetches, checks, parses, stores); and
`nvmelab collect` again (nothing new). Wall time: median [least - most] and the ratio of medians.
Wanted: collect at most 1.5 x plain Ansible. fio must be installed here.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RUN_ID = "20260101T000000Z-benchmark-0000"
# One a host: several names of an inventory may be one machine.
ROOT = "/var/tmp/nvmelab-benchmark-collect-{{ inventory_hostname }}"  # noqa: S108 (of root)
DISTINCT_OUTPUTS = 10

_PLAY = f"""
- hosts: all
  gather_facts: false
  vars:
    root: "{ROOT}"
  tasks:
"""
PLACE = f"""{_PLAY}
    - ansible.builtin.file: {{path: "{{{{ root }}}}/runs", state: directory, mode: "0755"}}
    - ansible.builtin.copy:
        src: "{{{{ inventory_hostname }}}}.tar.gz"
        dest: "{{{{ root }}}}/plain.tar.gz"
        mode: "0644"
    - ansible.builtin.unarchive:
        src: "{{{{ root }}}}/plain.tar.gz"
        dest: "{{{{ root }}}}/runs"
        remote_src: true
"""
PLAIN = f"""{_PLAY}
    - ansible.builtin.fetch:
        src: "{{{{ root }}}}/plain.tar.gz"
        dest: "fetched/{{{{ inventory_hostname }}}}.tar.gz"
        flat: true
"""
REMOVE = f"""{_PLAY}
    - ansible.builtin.file: {{path: "{{{{ root }}}}", state: absent}}
"""


def fio_output() -> bytes:
    """Return the JSON+ output of a short run of fio's null engine."""
    return subprocess.run(
        ["fio", "--output-format=json+", "--name=b", "--ioengine=null", "--rw=randrw", "--size=1g",
         "--time_based", "--runtime=200ms", "--iodepth=8"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip


def pack_run(path: Path, host: str, outputs: list[bytes], point_count: int) -> None:
    """Write a run directory as .tar.gz."""
    manifest = {
        "schema_version": 1, "run_id": RUN_ID, "host": host, "state": "complete",
        "finished_at": "2026-01-01T00:10:00Z", "points_planned": point_count,
        "points_done": point_count, "experiment": {"name": "benchmark"},
    }  # fmt: skip
    with tarfile.open(path, "w:gz", compresslevel=6) as tar:
        _add(tar, "manifest.json", json.dumps(manifest).encode())
        for number in range(point_count):
            output = outputs[number % len(outputs)]
            point = {
                "id": f"{number:04d}", "state": "ok", "stack": "null", "workload": "randrw",
                "repetition": number, "runs_on": "host", "environment": "host",
                "fio_options": {"rw": "randrw", "iodepth": 8},
                "fio_sha256": hashlib.sha256(output).hexdigest(),
            }  # fmt: skip
            _add(tar, f"points/{number:04d}.json", json.dumps(point).encode())
            _add(tar, f"points/{number:04d}.fio.json", output)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(f"{RUN_ID}/{name}")
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def hosts_of(inventory: str) -> list[str]:
    """Return the names of the inventory's hosts."""
    listed = subprocess.run(
        [_tool("ansible-inventory"), "-i", inventory, "--list"], check=True, capture_output=True
    ).stdout
    groups: dict[str, Any] = json.loads(listed)
    return sorted({host for group in groups.values() for host in group.get("hosts", ())})


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


class Benchmark:
    """The three things that are timed, and what they need."""

    def __init__(self, inventory: str, folder: Path) -> None:
        self.folder = folder
        self._inventory = inventory
        self._store = folder / "store"

    def play(self, text: str) -> None:
        """Run a playbook."""
        path = self.folder / "play.yml"
        path.write_text(text, encoding="utf-8")
        self._run([_tool("ansible-playbook"), "-i", self._inventory, str(path)])

    def plain(self) -> None:
        """Fetch one archive from each host."""
        shutil.rmtree(self.folder / "fetched", ignore_errors=True)
        self.play(PLAIN)

    def first(self) -> None:
        """Collect into an empty store."""
        shutil.rmtree(self._store, ignore_errors=True)
        self.again()

    def again(self) -> None:
        """Collect into the store as it is."""
        self._run(
            [sys.executable, "-m", "nvmelab", "collect", "-i", self._inventory,
             "--store", str(self._store), "-e", f"nvmelab_root={ROOT}"]
        )  # fmt: skip

    @staticmethod
    def _run(argv: list[str]) -> None:
        # Alike for all: an ansible.cfg in the current folder counts, and so does none.
        environment = {"ANSIBLE_PIPELINING": "True", **os.environ}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(argv)}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")


def wall_s(function: Callable[[], None]) -> float:
    """Return the seconds that one call takes."""
    began = time.monotonic()
    function()
    return time.monotonic() - began


def main() -> None:
    """Prepare, time, print, clean up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-i", "--inventory", required=True)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    hosts = hosts_of(args.inventory)
    inventory = str(Path(args.inventory).absolute())
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(inventory, Path(folder))
        outputs = [fio_output() for _ in range(DISTINCT_OUTPUTS)]
        for host in hosts:
            pack_run(Path(folder, f"{host}.tar.gz"), host, outputs, args.points)
        kib = Path(folder, f"{hosts[0]}.tar.gz").stat().st_size // 1024
        print(f"{len(hosts)} hosts, {args.points} points and {kib} KiB packed each")
        benchmark.play(PLACE)
        try:
            measure(benchmark, args.rounds)
        finally:
            benchmark.play(REMOVE)


def measure(benchmark: Benchmark, rounds: int) -> None:
    """Time the three in turn; print the table."""
    ways = {
        "plain Ansible fetch": benchmark.plain,
        "nvmelab collect": benchmark.first,
        "nvmelab collect again": benchmark.again,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    benchmark.plain()  # opens the connections
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(wall_s(way))
    base = statistics.median(times["plain Ansible fetch"])
    print(f"{'':24}{'s, median':>10}  {'[least - most]':16}{'ratio':>6}   n={rounds}")
    for name, found in times.items():
        middle = statistics.median(found)
        spread = f"[{min(found):.2f} - {max(found):.2f}]"
        print(f"{name:24}{middle:10.2f}  {spread:16}{middle / base:6.2f}")


if __name__ == "__main__":
    main()
