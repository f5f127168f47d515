# SPDX-License-Identifier: GPL-3.0-or-later
"""The real nvmf_tgt and vhost as storage targets: served, in trouble, and nothing left behind.

NVMELAB_SPDK_DIRECTORY names SPDK's build; without it nothing here runs. In plain memory, for a
test must not need the machine's hugepages.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    spdk_host,
    storage_target,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import (
    RunningTarget,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import SpdkRpc

REAL = os.environ.get("NVMELAB_SPDK_DIRECTORY")
pytestmark = pytest.mark.skipif(
    not REAL,
    reason="NVMELAB_SPDK_DIRECTORY names no SPDK build: not run against nvmf_tgt and vhost",
)
TRANSPORTS = {"spdk-nvmf-tgt": "vfio-user", "spdk-vhost": "vhost-user"}
# The last one, which no other application should poll.
CPU = str(max(os.sched_getaffinity(0)))


def _spec(kind: str = "spdk-nvmf-tgt", count: int = 1, **more: Any) -> dict[str, Any]:
    backend = {"kind": "bdev_malloc", "size_mib": 4}
    exports = [
        {"name": f"d{n}", "transport": TRANSPORTS[kind], "backend": backend, "num_queues": 1}
        for n in range(count)
    ]
    return {
        "name": kind,
        "kind": kind,
        "cpus": None,
        "hugepages": False,
        "exports": exports,
        **more,
    }


class Lab:
    """One run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        programs = {name: f"{REAL}/build/bin/{name}" for name in ("nvmf_tgt", "vhost")}
        self.capabilities = {"spdk": programs}

    def start(self, spec: dict[str, Any]) -> RunningTarget:
        """Start a target here."""
        return storage_target.start_target(
            spec, directory=self.directory, capabilities=self.capabilities
        )

    def left(self) -> list[str]:
        """What is left beside the logs."""
        paths = (path for path in self.directory.rglob("*") if not path.is_dir())
        return [str(path) for path in paths if path.suffix != ".log"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A run directory, and nothing running for it after a test that failed."""
    lab = Lab(tmp_path / "run")
    yield lab
    processes.stop_recorded(lab.directory / "processes")


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_it_serves_and_leaves_nothing(lab: Lab, kind: str) -> None:
    """24 exports listen, and after the stop there are the logs only."""
    target = lab.start(_spec(kind, 24))
    target.check()
    assert len({path for path in target.sockets.values() if Path(path).is_socket()}) == 24
    remark = target.stop()
    # vhost v25.05 did in 5 of 16 stops: DPDK's event thread outlives the memory that it reads.
    assert remark is None or "killed by SIGSEGV when it was asked to end" in remark
    assert lab.left() == []


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_killed_in_mid_run(lab: Lab, kind: str) -> None:
    """The cause is one line; its stale sockets are no hindrance for the next one."""
    target = lab.start(_spec(kind))
    os.kill(target.process.pid, signal.SIGKILL)
    processes.wait(target.process, deadline_s=30)
    with pytest.raises(NvmelabError, match=f"{kind} was killed by SIGKILL: ") as failure:
        target.check()
    assert "\n" not in str(failure.value)
    assert Path(target.sockets["d0"]).exists()
    again = lab.start(_spec(kind))
    again.check()
    again.stop()
    target.stop()
    assert lab.left() == []
    killed, ended = (spdk_host.left_behind(one.argv[0], one.process.pid) for one in (target, again))
    assert not [path for path in (*killed, *ended) if Path(path).exists()]


def test_interrupt_mode(lab: Lab) -> None:
    """The target sleeps, and vfio-user's transport has agreed to it."""
    target = lab.start(_spec(interrupt_mode=True))
    with SpdkRpc(target.directory / f"{target.name}.rpc") as rpc:
        (reactor,) = rpc.call("framework_get_reactors")["reactors"]
    assert reactor["in_interrupt"] is True
    assert target.stop() is None


def test_a_core_that_another_one_polls(lab: Lab) -> None:
    """Told with name and pid of the one that has it, before SPDK starts; the other lives on."""
    first = lab.start(_spec(cpus=CPU))
    with pytest.raises(
        NvmelabError, match=rf"CPU {CPU} is claimed .* nvmf_tgt \(pid {first.process.pid}\)"
    ):
        lab.start(_spec("spdk-vhost", cpus=CPU))
    first.check()
    first.stop()
    assert lab.left() == []


def test_more_hugepages_than_there_are(lab: Lab) -> None:
    """Found before the start, with how many would do."""
    spec = _spec(hugepages=True)
    spec["exports"][0]["backend"]["size_mib"] = 1 << 24
    with pytest.raises(NvmelabError, match=r"SPDK needs 16777728 MiB of hugepages, \d+ MiB are"):
        lab.start(spec)
    assert lab.left() == []


def test_spdks_own_words_are_not_lost(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no look beforehand has found is told with the end of SPDK's log, in one line."""
    monkeypatch.setattr(spdk_host, "require_hugepages", lambda *_: None)
    spec = _spec(hugepages=True)
    spec["exports"][0]["backend"]["size_mib"] = 1 << 24
    with pytest.raises(NvmelabError, match=r"before it was ready: .*EAL: ") as failure:
        lab.start(spec)
    assert "\n" not in str(failure.value)
    assert lab.left() == []


def test_no_hugetlbfs_is_mounted(lab: Lab) -> None:
    """In a mount namespace of our own without one: told with the command that mounts it."""
    code = (
        "import sys\nfrom ansible_collections.nvmelab.bench.plugins.module_utils.target import"
        " spdk_host\ntry: spdk_host.require_hugepages('t', 2)\nexcept Exception as e: print(e)"
    )
    free = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
    if os.geteuid() or not free.exists() or int(free.read_text()) == 0:
        pytest.skip("needs root and a free hugepage")
    script = 'umount -a -t hugetlbfs; exec "$0" -c "$1"'
    argv = ["unshare", "--mount", "sh", "-c", script, sys.executable, code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "no hugetlbfs is mounted for those of 2048 KiB" in done.stdout, done.stderr
