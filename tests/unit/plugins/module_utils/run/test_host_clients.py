# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients on the host at a storage target without a guest; target and clients are stand-ins.

The target speaks JSON-RPC as nvmf_tgt does (fake_nvmf_tgt.py). The clients are scripts that end,
hang or fail as SPDK's do, and print what SPDK v25.05 printed.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_spdk_host import FakeSpdkHost
from lab_fakes import program
from run_fakes import fake_fio, job, plan, point
from vm_less import OPTIONS, reasons, served, vm_less

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.run import executor, leftovers, result
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

CHECKOUT = Path(__file__).resolve().parents[5]
FIXTURES = CHECKOUT / "tests/fixtures/client"
SUPPORT = CHECKOUT / "tests/support"
PRINTS = f"print(open({str(FIXTURES / 'spdk_nvme_perf-v25.05.txt')!r}).read())\n"
# As the real ones: SIGTERM is caught, and changes nothing once the target is gone.
HANGS = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: None)\ntime.sleep(60)\n"
KILLS_TARGET = """
import json, os, pathlib, re, sys
folder = pathlib.Path(re.search(r"traddr:(\\S+)", sys.argv[-1])[1]).parents[1]
(record,) = (folder / "processes").glob("nvmf-tgt-*.json")
os.kill(json.loads(record.read_text())["pid"], 9)
"""


Run = Callable[..., RunDirectory]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A lab directory by a short name: a socket's path has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        (Path(folder) / "r").symlink_to(tmp_path)
        yield Path(folder) / "r"


@pytest.fixture
def run(tmp_path: Path, root: Path) -> Run:
    """Execute a plan with a client that does this; the run directory."""

    def execute(code: str, *points: dict[str, Any], **programs: str) -> RunDirectory:
        text = f"import sys\nsys.path.insert(0, {str(SUPPORT)!r})\nimport fake_nvmf_tgt\n"
        program(tmp_path / "nvmf_tgt", f"{text}fake_nvmf_tgt.main()\n")
        program(tmp_path / "spdk_nvme_perf", code)
        made = job(root, served(*points, hugepages=False), fio=fake_fio(tmp_path))
        own = {name: str(tmp_path / name) for name in ("nvmf_tgt", "spdk_nvme_perf")}
        capabilities = {**made.capabilities, "spdk": {**own, **programs}}
        # What is asked to end is given less time, as it will not.
        source = made.agent_source.replace("TERM_S = 5.0", "TERM_S = 0.3")
        executor.execute(dataclasses.replace(made, capabilities=capabilities, agent_source=source))
        assert leftovers.marked_pids(made.directory.run_id) == []
        assert processes.recorded(made.directory.processes) == []
        return made.directory

    return execute


def test_a_point_without_a_guest_is_measured(run: Run) -> None:
    """The output is kept as it came under the client's name; its row has the usual columns."""
    directory = run(PRINTS, vm_less("perf-null"))
    assert reasons(directory) == [None]
    record = directory.record("0001")
    assert record is not None
    assert (record["client"], record["output_file"]) == (
        "spdk_nvme_perf",
        "points/0001.spdk_nvme_perf.txt",
    )
    assert directory.is_finished("0001")
    (row,) = result.rows_of(directory)
    assert (row["client"], row["iops"], row["clat_mean_ns"]) == ("spdk_nvme_perf", 30830.89, None)
    assert "nvmf-tgt-perf-null" in (directory.manifest() or {})["commands"]


def test_the_client_is_told_the_targets_own_controller(run: Run) -> None:
    """Socket folder and NQN are those that the target was configured with; never its CPU."""
    directory = run(PRINTS, vm_less("perf-null", client_cpus="0"))
    argv = (directory.record("0001") or {})["argv"]
    folder = directory.path / "vfio-user/perf-null"
    assert argv[argv.index("-c") + 1] == "[0]"
    assert argv[-1] == f"trtype:VFIOUSER traddr:{folder} subnqn:nqn.2019-07.io.spdk:perf-null"
    asked = (directory.logs / "nvmf-tgt-perf-null.log").read_text("utf-8")
    assert '"nqn": "nqn.2019-07.io.spdk:perf-null"' in asked
    assert str(folder) in asked


DPDK = """
import os, pathlib, sys
folder = pathlib.Path(os.environ["RUNTIME_DIRECTORY"], "dpdk", f"spdk_pid{os.getpid()}")
folder.mkdir(parents=True)
(folder / "config").touch()
print(folder, file=open(sys.argv[0] + ".log", "a"))
"""


@pytest.mark.parametrize("ending", [PRINTS, HANGS], ids=["ends", "hangs"])
def test_a_client_leaves_nothing_of_dpdks(run: Run, tmp_path: Path, ending: str) -> None:
    """What its environment layer leaves on any end lies in the run directory, and goes."""
    directory = run(DPDK + ending, vm_less("a", limit_s=1.0))
    made = Path((tmp_path / "spdk_nvme_perf.log").read_text().strip())
    assert directory.path.resolve() in made.resolve().parents
    assert not any((directory.path / "backends").iterdir())


def test_a_client_that_hangs_is_killed_at_its_own_deadline(run: Run) -> None:
    """The reason names client and limit; the next point is measured all the same."""
    code = HANGS.replace("time.sleep", "sys.argv[4] == '1' and time.sleep")
    points = (vm_less("a", 1, limit_s=1.0), vm_less("a", 2, fio={**OPTIONS, "iodepth": 2}))
    directory = run(f"import sys\n{code}{PRINTS}", *points)
    assert reasons(directory) == ["spdk_nvme_perf did not end within 1 s and was stopped", None]


@pytest.mark.parametrize("ending", [HANGS, "sys.exit('errors occurred')\n"])
def test_the_death_of_the_target_is_the_cause_in_one_line(run: Run, ending: str) -> None:
    """Target and signal first, whether its client spins or ends; the other stack is measured."""
    code = f"import sys\nif 'dies' in sys.argv[-1]:\n  exec({KILLS_TARGET + ending!r})\n{PRINTS}"
    points = (vm_less("dies", 1), vm_less("lives", 2))
    first, second = reasons(run(code, *points))
    assert str(first).startswith("nvmf-tgt-dies: spdk-nvmf-tgt was killed by SIGKILL")
    assert "\n" not in str(first)
    assert second is None


def test_no_controllers_are_a_failure(run: Run) -> None:
    """Exit code 0 and nothing measured is no result; the cause is what the client said."""
    said = (FIXTURES / "spdk_nvme_perf-v25.05-nothing.err").read_text("utf-8")
    (reason,) = reasons(run(f"import sys\nsys.stderr.write({said!r})\n", vm_less("a")))
    cause = "No valid NVMe controllers or AIO or URING devices found"
    assert reason == f"spdk_nvme_perf ended well but did no I/O: {cause}"


def test_a_client_that_fails_is_told_by_its_first_error(run: Run) -> None:
    """Not by its farewell, which is the same whatever went wrong."""
    said = (FIXTURES / "spdk_nvme_perf-v25.05-absent.err").read_text("utf-8")
    (reason,) = reasons(
        run(f"import sys\nsys.stderr.write({said!r})\nsys.exit(255)\n", vm_less("a"))
    )
    assert str(reason).startswith("spdk_nvme_perf ended with exit code 255: ")
    assert str(reason).endswith("*ERROR*: Error to access file /run/vfio-user/9")


def test_one_target_polls_at_a_time(run: Run) -> None:
    """A target without a guest is stopped before another place runs, for it keeps a CPU busy."""
    code = f"import sys\n{PRINTS}"
    points = (vm_less("a", 1), vm_less("b", 2), vm_less("a", 3))
    directory = run(code, *points)
    assert reasons(directory) == [None] * 3
    log = (directory.logs / "nvmf-tgt-a.log").read_text("utf-8")
    assert json.loads(log.splitlines()[0])[0] == "framework_wait_init"  # emptied: started anew


def test_bdevperf_reads_a_file_with_the_bdev_that_a_target_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bdev of the plan's kind and size, in SPDK's own form; removed afterwards."""
    FakeSpdkHost(tmp_path / "spdk-host").install(monkeypatch)
    seen = tmp_path / "seen.json"
    printed = FIXTURES / "bdevperf-v25.05.txt"
    program(
        tmp_path / "bdevperf",
        f"import shutil, sys\nshutil.copy(sys.argv[2], {str(seen)!r})\n"
        f"print(open({str(printed)!r}).read())\n",
    )
    one = point(1, client="bdevperf", client_cpus="0", device="bdev", stack="bdev", fio=OPTIONS)
    whole = plan(one)
    backend = {"kind": "bdev_malloc", "size_mib": 16}
    whole["environments"]["host"]["host_files"] = [{"name": "bdev", "backend": backend}]
    made = job(tmp_path / "root", whole, fio=fake_fio(tmp_path))
    capabilities = {**made.capabilities, "spdk": {"bdevperf": str(tmp_path / "bdevperf")}}
    executor.execute(dataclasses.replace(made, capabilities=capabilities))
    assert reasons(made.directory) == [None]
    (subsystem,) = json.loads(seen.read_text("utf-8"))["subsystems"]
    params = {"name": "bdev0", "num_blocks": 16 * 2048, "block_size": 512}
    assert subsystem["config"] == [{"method": "bdev_malloc_create", "params": params}]
    assert list((made.directory.path / "backends").glob("*.json")) == []
    (row,) = result.rows_of(made.directory)
    assert (row["client"], row["iops"]) == ("bdevperf", 142.98)
