# SPDX-License-Identifier: GPL-3.0-or-later
"""Stacks that SPDK's own clients drive: what goes together, and what a plan makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from plan_examples import HEAD, NVME, debian_12
from plan_examples import experiment as example

from nvmelab.experiment.document import ExperimentError, parse_experiment
from nvmelab.plan.points import make_plan
from nvmelab.plan.table import plan_table

WORKLOADS = """\
workloads:
  - {name: randread-512, rw: randread, bs: 512, iodepth: [1, 16]}
"""
BDEVPERF = """\
  bdev-alone:
    backend: {kind: bdev_null, size_mib: 64}
    client: bdevperf
    client_cpus: "1"
    runs_on: host
    ceiling: true
"""
NVME_PERF = """\
  vm-less:
    backend: {kind: bdev_null, size_mib: 64}
    server: spdk-nvmf-tgt
    server_cpus: "0"
    transport: vfio-user
    client: spdk_nvme_perf
    client_cpus: "1"
    runs_on: host
    ceiling: true
"""
PLUGIN = (
    NVME_PERF.replace("vm-less", "vm-less-fio")
    .replace("client: spdk_nvme_perf", "engine: {ioengine: spdk_nvme}")
    .replace('client_cpus: "1"', 'client_cpus: "1-2"')
)
GOOD = HEAD + WORKLOADS + "stacks:\n" + BDEVPERF + NVME_PERF + PLUGIN + NVME
SPDK = {
    "nvmf_tgt": "/spdk/nvmf_tgt",
    "bdevperf": "/spdk/bdevperf",
    "spdk_nvme_perf": "/spdk/spdk_nvme_perf",
    "fio_plugin": {"path": "/spdk/fio/spdk_nvme", "fio_path": "/f/fio", "fio_version": "3.40"},
}


def faults_of(text: str) -> list[str]:
    """The lines of the error that reading ``text`` ends with."""
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(text, source="x.yml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("rw: randread,", "rw: randrw,", ":7: workloads[0].rw: found 'randrw'; client bdevperf"),
        ("iodepth: [1, 16]", "iodepth: [1, 256]", "found 256; client spdk_nvme_perf has at most"),
        ("direct: 1", "direct: 1, numjobs: 2", ":5: fio.numjobs: found 2; client bdevperf runs"),
        ("direct: 1", "direct: 1, bssplit: 4k/50", "fio.bssplit: client bdevperf knows nothing"),
        ("runtime: 1", "runtime: 0.5", "fio.runtime: found 0.5; client bdevperf counts whole"),
        (
            "client: bdevperf",
            "client: bdevperf\n    server: qemu",
            "found 'qemu' with runs_on: host",
        ),
        ("client: bdevperf", "client: bdevpref", "did you mean 'bdevperf'?"),
        (
            "client: bdevperf",
            "client: bdevperf\n    engine: {hipri: 1}",
            "stacks.bdev-alone.engine: found fio's options, but client: bdevperf is no fio",
        ),
        (
            'client: bdevperf\n    client_cpus: "1"',
            'client: bdevperf\n    client_cpus: "0-1"',
            "found '0-1'; client: bdevperf runs one job on one CPU",
        ),
        (
            "bdev-alone:\n    backend: {kind: bdev_null, size_mib: 64}",
            "bdev-alone:\n    backend: {kind: ram, size_mib: 64}",
            "backend.kind: found 'ram'; allowed: bdev_malloc, bdev_null",
        ),
        (
            'spdk_nvme_perf\n    client_cpus: "1"\n    runs_on: host\n    ceiling: true',
            'spdk_nvme_perf\n    client_cpus: "1"\n    runs_on: host',
            "stacks.vm-less.ceiling: found false, but no guest takes part",
        ),
        ("ioengine: spdk_nvme}", "ioengine: libaio}", "wanted {ioengine: spdk_nvme}"),
        (
            "driver: nvme",
            "driver: nvme\n    engine: {ioengine: spdk_nvme}",
            "'spdk_nvme': it needs runs_on: host and server: spdk-nvmf-tgt",
        ),
        ("driver: nvme", 'driver: nvme\n    client_cpus: "1"', "found CPUs of the host, but runs_"),
        (
            "driver: nvme",
            "driver: nvme\n    client: spdk_nvme_perf",
            "driver: found 'nvme'; allowed: uio_pci_generic, vfio-pci (client: spdk_nvme_perf dri",
        ),
        (
            'spdk-nvmf-tgt\n    server_cpus: "0"\n    transport: vfio-user\n    client: spdk',
            "none\n    client: spdk",
            "server: found 'none'; allowed: spdk-nvmf-tgt (client: spdk_nvme_perf drives a target",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(old: str, new: str, wanted: str) -> None:
    """Each slip is told with line, key, value, and what would be right."""
    assert GOOD.count(old) == 1
    faults = faults_of(GOOD.replace(old, new))
    assert any(wanted in fault for fault in faults), faults


def plan_of(*stacks: str, **kwargs: Any) -> Any:
    """The plan of an experiment with these stacks."""
    return make_plan(example(*stacks, workloads=WORKLOADS), **{"capabilities": None, **kwargs})


def test_a_target_without_a_guest_has_an_environment_of_its_own() -> None:
    """It polls a CPU: nothing else is measured beside it, not even another such stack."""
    environments = plan_of(BDEVPERF, NVME_PERF, PLUGIN, NVME)["environments"]
    assert set(environments) == {"guest-1", "host", "host-vm-less", "host-vm-less-fio"}
    served = environments["host-vm-less"]
    assert (served["guest"], served["host_files"]) == (None, [])
    (target,) = served["targets"]
    assert (target["kind"], target["cpus"], target["shares_cores"]) == ("spdk-nvmf-tgt", "0", True)
    assert [one["name"] for one in target["exports"]] == ["vm-less"]
    (file,) = environments["host"]["host_files"]
    assert file == {"name": "bdev-alone", "backend": {"kind": "bdev_null", "size_mib": 64}}


def test_points_name_their_client_and_only_what_it_takes() -> None:
    """What means nothing to the client is not recorded as if it had been measured with it."""
    points = plan_of(BDEVPERF, NVME_PERF, PLUGIN, NVME)["points"]
    found = {point["stack"]: point for point in points}
    assert {name: point["client"] for name, point in found.items()} == {
        "bdev-alone": "bdevperf",
        "vm-less": "spdk_nvme_perf",
        "vm-less-fio": "fio",
        "qemu-nvme": "fio",
    }
    assert set(found["bdev-alone"]["fio"]) == {"rw", "bs", "iodepth", "runtime", "time_based"}
    assert found["vm-less-fio"]["fio"]["ioengine"] == "spdk_nvme"
    assert [found[name]["client_cpus"] for name in ("vm-less", "vm-less-fio", "qemu-nvme")] == [
        "1", "1-2", None,
    ]  # fmt: skip
    assert {point["device"] for point in points} == set(found)


@pytest.mark.parametrize(
    ("stack", "lacking", "reason"),
    [
        (BDEVPERF, "bdevperf", "no SPDK bdevperf on the host (nvmelab_builds: spdk, or "),
        (
            NVME_PERF,
            "spdk_nvme_perf",
            "no SPDK spdk_nvme_perf on the host (nvmelab_builds: spdk, or ",
        ),
        (NVME_PERF, "nvmf_tgt", "no SPDK nvmf_tgt on the host (nvmelab_builds: spdk, or "),
        (
            PLUGIN,
            "fio_plugin",
            "no SPDK engine on the host that a fio there loads (nvmelab_builds: spdk, ",
        ),
    ],
)
def test_a_stack_is_skipped_where_its_client_lacks(stack: str, lacking: str, reason: str) -> None:
    """What the host's build of SPDK does not have is named; with it the stack runs."""
    whole = debian_12(spdk=SPDK)
    assert plan_of(NVME, stack, capabilities=whole)["skips"] == []
    (skip,) = plan_of(NVME, stack, capabilities=debian_12(spdk={**SPDK, lacking: None}))["skips"]
    assert skip["reason"].startswith(reason)


def test_cpus_that_the_host_has_not_are_a_reason() -> None:
    """As for every other list of CPUs."""
    capabilities = debian_12(spdk=SPDK, cpu_count=1)
    reasons = [one["reason"] for one in plan_of(NVME, BDEVPERF, capabilities=capabilities)["skips"]]
    assert reasons == ["client_cpus: 1, but the host has CPUs 0-0"]


def test_the_table_names_the_client() -> None:
    """A reader sees what drives the I/O, and where."""
    text = plan_table(plan_of(BDEVPERF, PLUGIN), width=160)
    assert "bdev_null · bdevperf on the host" in text
    assert "bdev_null · spdk-nvmf-tgt · fio on the host" in text
