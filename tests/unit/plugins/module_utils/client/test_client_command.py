# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of SPDK's own clients say exactly what fio would be asked for, or nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.client import command, workload
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_agent, point_command
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Place, Target

OPTIONS = {"rw": "randread", "bs": "4k", "iodepth": 16, "runtime": "2m", "ramp_time": 3}
NQN = "nqn.2019-07.io.spdk:disk"
# Without OpenSSL's configuration file, which not every host or guest has, SPDK does not start.
ENV = ("env", "OPENSSL_CONF=/dev/null")


def test_bdevperf_has_one_bdev_one_core_one_job() -> None:
    """Sizes in bytes, times in seconds; the whole histogram; no lock of its core."""
    assert command.bdevperf("/spdk/bdevperf", OPTIONS, config="c.json", bdev="bdev0", cpu=1) == [
        *ENV,
        *("/spdk/bdevperf", "-c", "c.json", "-T", "bdev0", "-m", "[1]"),
        *("--disable-cpumask-locks", "--num-trace-entries", "0"),
        *("-q", "16", "-o", "4096", "-w", "randread", "-t", "120"),
        *("-l", "-l"),
    ]


def test_nvme_perf_warms_up_and_names_its_controller() -> None:
    """The ramp is its warm-up, and the transport id has the NQN that it must not lack."""
    transport_id = command.vfio_user_id("/run/vfio-user/disk", NQN)
    argv = command.spdk_nvme_perf("perf", OPTIONS, transport_id=transport_id, cpu=3)
    assert argv == [
        *ENV,
        *("perf", "-c", "[3]", "-q", "16", "-o", "4096", "-w", "randread", "-t", "120"),
        *("-a", "3", "-L", "-L", "-r", f"trtype:VFIOUSER traddr:/run/vfio-user/disk subnqn:{NQN}"),
    ]
    without = command.spdk_nvme_perf("perf", {**OPTIONS, "ramp_time": 0}, transport_id="x", cpu=0)
    assert "-a" not in without


def test_fio_gets_the_same_controller_as_a_file_name() -> None:
    """'=' instead of the first ':' of each word; fio's own escaping comes with its argv."""
    transport_id = command.vfio_user_id("/run/vfio-user/disk", NQN)
    filename = command.fio_filename(transport_id)
    assert filename == f"trtype=VFIOUSER traddr=/run/vfio-user/disk subnqn={NQN} ns=1"


@pytest.mark.parametrize("folder", ["", "/run/my folder", "/run/a\tb"])
def test_a_blank_in_a_path_is_refused(folder: str) -> None:
    """SPDK reads a transport id word by word."""
    with pytest.raises(BadInputError, match="found a blank"):
        command.vfio_user_id(folder, NQN)


def place(**programs: str) -> Place:
    """A place with these programs."""
    connection: Any = SimpleNamespace()
    return Place(connection, "/bin/fio", lambda: None, programs)


def point(**more: Any) -> dict[str, Any]:
    """A point of the plan."""
    return {"id": "0001", "stack": "s", "workload": "w", "fio": OPTIONS, **more}


def test_fio_with_spdks_engine_is_the_one_that_loads_it() -> None:
    """The plugin's path, its fio, threads, the client's CPUs, and the escaped file name."""
    target = Target(transport_id=command.vfio_user_id("/v/disk", NQN), cpus=(1, 2))
    programs = {
        point_command.FIO_PLUGIN: "/spdk/fio/spdk_nvme",
        point_command.PLUGIN_FIO: "/f/fio",
    }
    options = {**OPTIONS, "ioengine": "spdk_nvme"}
    argv = point_command.argv(point(fio=options), target, place(**programs))
    assert argv[:3] == [*ENV, "/f/fio"]
    wanted = {"--ioengine=external:/spdk/fio/spdk_nvme", "--thread=1", "--cpus_allowed=1-2"}
    assert wanted <= set(argv)
    escaped = NQN.replace(":", "\\:")
    assert f"--filename=trtype=VFIOUSER traddr=/v/disk subnqn={escaped} ns=1" in argv


def test_each_client_has_its_own_program() -> None:
    """A file for bdevperf, a transport id or a PCI address for spdk_nvme_perf; fio as ever."""
    both = place(bdevperf="/b", spdk_nvme_perf="/p")
    argv = point_command.argv(
        point(client="bdevperf"), Target("c.json", cpus=(1,), bdev="bdev0"), both
    )
    assert argv[2:9] == ["/b", "-c", "c.json", "-T", "bdev0", "-m", "[1]"]
    target = Target(pci_address="0000:00:10.0")
    argv = point_command.argv(point(client="spdk_nvme_perf"), target, both)
    assert argv[-1] == "trtype:PCIe traddr:0000:00:10.0"
    assert argv[:5] == [*ENV, "/p", "-c", "[0]"]
    assert point_command.argv(point(), Target("/dev/shm/x"), both)[0] == "/bin/fio"


def test_a_program_that_is_not_there_is_named() -> None:
    """The point says which program lacks."""
    with pytest.raises(point_command.NoProgramError, match="no bdevperf was found here"):
        point_command.argv(point(client="bdevperf"), Target("c.json"), place())


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("rw", "randrw", "reports one direction: read, write, randread, randwrite"),
        ("numjobs", 2, "found 2; client bdevperf runs one job"),
        ("bs", "4k-8k", "takes one block size"),
        ("bs", 0, "takes one block size"),
        ("bssplit", "4k/50:8k/50", "knows nothing like it"),
        ("rate_iops", 100, "knows nothing like it"),
        ("runtime", "500ms", "counts whole seconds"),
        ("ramp_time", 0.5, "found 0.5; client bdevperf counts whole seconds"),
        ("iodepth", 0, "at least 1"),
    ],
)
def test_what_such_a_client_cannot_do_is_refused(key: str, value: Any, complaint: str) -> None:
    """Never is another workload measured than asked for; the fault is told of key and value."""
    found = workload.fault("bdevperf", key, value)
    assert found is not None
    assert complaint in found
    with pytest.raises(BadInputError, match=f"client bdevperf: {key}: "):
        workload.workload_of("bdevperf", {**OPTIONS, key: value})


def test_depth_is_bounded_where_the_queue_is() -> None:
    """spdk_nvme_perf would queue in its driver what does not fit, and measure that too."""
    assert workload.fault("spdk_nvme_perf", "iodepth", 128) is None
    assert "at most 128" in str(workload.fault("spdk_nvme_perf", "iodepth", 129))
    assert workload.fault("bdevperf", "iodepth", 129) is None


def test_options_that_mean_nothing_to_it_are_left_out() -> None:
    """How fio is to do it is not asked of others; fio's own defaults are filled in."""
    options = {"ioengine": "libaio", "direct": 1, "norandommap": 1, "runtime": 5}
    assert all(workload.fault("bdevperf", key, value) is None for key, value in options.items())
    assert workload.taken(options) == {
        "rw": "read", "bs": "4k", "iodepth": 1, "runtime": 5, "time_based": 1,
    }  # fmt: skip


def test_several_devices_are_driven_from_the_same_moment() -> None:
    """Their jobs wait for each other by fio's exec_prerun, unless a user's own command has it."""
    two = Target("/dev/a", more=(Target("/dev/b"),), names=("d_1", "d_2"))
    wait = f"--exec_prerun={guest_agent.AT_GATE}"
    assert point_command.argv(point(), two, place()).count(wait) == 1
    assert point_command.gated_jobs(point(), two) == 2
    assert point_command.gated_jobs(point(fio={**OPTIONS, "numjobs": 3}), two) == 6
    own = point(fio={**OPTIONS, "exec_prerun": "date"})
    assert wait not in point_command.argv(own, two, place())
    assert point_command.gated_jobs(own, two) == 0
    assert wait not in point_command.argv(point(), Target("/dev/a"), place())
