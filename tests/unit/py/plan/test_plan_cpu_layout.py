# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's CPU layout in a plan: it pins what the experiment does not, and is recorded."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cpu_topologies import machine, make_sysfs
from module_runs import run_module
from plan_examples import (
    GUEST_NULL,
    HEAD,
    HOST_RAM,
    NVME,
    STORAGE_DAEMON,
    VFIO_USER,
    WORKLOADS,
    debian_12,
)
from plan_examples import experiment as example

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout import lay_out
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout_text import (
    layout_dict,
    pinning,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import needs
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import make_request
from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import read_topology
from ansible_collections.nvmelab.bench.plugins.modules import cpu_layout_info
from nvmelab.commands.plan import run_plan
from nvmelab.errors import BadInputError
from nvmelab.plan.points import make_plan

STACKS = (NVME, STORAGE_DAEMON, HOST_RAM)
RUN_ID = "20261121T090000Z-example-a1b2"


def plan_of(
    layout: dict[str, Any] | None, *stacks: str, head: str = HEAD, cpus: str = "0-7"
) -> dict[str, Any]:
    """The plan of these stacks on a host with so many CPUs."""
    return make_plan(
        example(*(stacks or STACKS), head=head),
        debian_12(cpus=cpus),
        run_id=RUN_ID,
        cpu_layout=layout,
    )


@pytest.fixture
def sysfs(tmp_path: Path) -> str:
    """The sysfs of eight cores without siblings, housekeeping on 0-1."""
    return str(make_sysfs(tmp_path / "sys", machine("ryzen-5800x-nosmt")))


def layout_for(plan: dict[str, Any], sysfs: str, **options: Any) -> dict[str, Any]:
    """What the module returns for the environments of a plan."""
    return run_module(cpu_layout_info, sysfs=sysfs, environments=plan["environments"], **options)


def test_everything_is_pinned_apart(sysfs: str) -> None:
    """By hand: 0-1 the host, 2 the daemon, 3-4 vCPUs and the host's fio, 5 QEMU's main loop."""
    plan = plan_of(layout_for(plan_of(None), sysfs))
    guest = plan["environments"]["guest-1"]["guest"]
    assert guest["cpus"] == "3-4"
    assert guest["iothread_cpus"] == guest["emulator_cpus"] == "5"
    assert [t["cpus"] for t in plan["environments"]["guest-1"]["targets"]] == ["2"]
    assert plan["environments"]["host"]["cpus"] == "3-4"


SPDK_VHOST = (
    STORAGE_DAEMON.replace("  vhost-user-blk:", "  spdk-vhost:")
    .replace("null-co", "bdev_null")
    .replace("qemu-storage-daemon", "spdk-vhost")
)
GUEST_STACKS = (NVME, STORAGE_DAEMON, VFIO_USER, SPDK_VHOST, GUEST_NULL)


@pytest.mark.parametrize("layout", ["shared-guest", "guest-per-stack"])
def test_every_choice_of_stacks_gets_cpus_apart(sysfs: str, layout: str) -> None:
    """Whatever runs together: nothing lacks CPUs, and nothing that works shares any."""
    topology = read_topology(Path(sysfs))
    head = HEAD + f"layout: {layout}\n"
    for count in range(1, len(GUEST_STACKS) + 1):
        for stacks in itertools.combinations(GUEST_STACKS, count):
            whole = make_plan(example(*stacks, HOST_RAM, head=head), None)
            found = lay_out(topology, make_request(needs(whole["environments"], {})))
            made = {"layout": layout_dict(found), "picture": "", "kernel_args": []}
            made["pinning"] = pinning(found)
            plan = make_plan(example(*stacks, HOST_RAM, head=head), None, cpu_layout=made)
            for environment in plan["environments"].values():
                kinds = {target["kind"]: target["cpus"] for target in environment["targets"]}
                guest = environment["guest"]
                lists = [made["layout"]["housekeeping"], *kinds.values()]
                lists += [guest["cpus"], guest["iothread_cpus"]] if guest else []
                used = [cpu for text in lists if text for cpu in parse_cpu_list(text)]
                assert all(kinds.values())
                assert len(used) == len(set(used))


def test_the_layout_is_recorded(sysfs: str) -> None:
    """Layout, picture and kernel arguments are in the plan; the pinning is in its environments."""
    found = layout_for(plan_of(None), sysfs)
    plan = plan_of(found)
    kept = ("layout", "picture", "kernel_args")
    assert plan["cpu_layout"] == {key: found[key] for key in kept}
    assert plan == json.loads(json.dumps(plan))


def test_without_a_layout_nothing_is_pinned() -> None:
    """As shipped: no list anywhere, and the record says that there was no layout."""
    plan = plan_of(None)
    assert plan["cpu_layout"] is None
    guest = plan["environments"]["guest-1"]["guest"]
    assert guest["cpus"] is guest["iothread_cpus"] is None


def test_lists_of_the_experiment_win(sysfs: str) -> None:
    """Explicit lists stay, and the layout goes round them."""
    head = HEAD + 'guest: {cpus: "6-7"}\n'
    daemon = STORAGE_DAEMON + '    server_cpus: "5"\n'
    layout = layout_for(plan_of(None, NVME, daemon, head=head), sysfs)
    plan = plan_of(layout, NVME, daemon, head=head)
    guest = plan["environments"]["guest-1"]["guest"]
    assert guest["cpus"] == "6-7"
    assert guest["iothread_cpus"] == "2"
    assert [t["cpus"] for t in plan["environments"]["guest-1"]["targets"]] == ["5"]


def test_qemu_has_no_work_of_its_own_when_targets_serve_all(sysfs: str) -> None:
    """Its main loop then stays with the host's own tasks."""
    plan = plan_of(layout_for(plan_of(None, STORAGE_DAEMON), sysfs), STORAGE_DAEMON)
    guest = plan["environments"]["guest-1"]["guest"]
    assert (guest["iothread_cpus"], guest["emulator_cpus"]) == (None, "0-1")


def test_a_guest_with_too_few_cpus_runs_everywhere(sysfs: str) -> None:
    """Overcommit with more vCPUs than CPUs: no list for them, so none for QEMU as a whole."""
    head = HEAD + "guest: {vcpus: 12}\n"
    layout = layout_for(plan_of(None, head=head), sysfs, overcommit=True)
    guest = plan_of(layout, head=head)["environments"]["guest-1"]["guest"]
    assert (guest["cpus"], guest["emulator_cpus"]) == (None, None)
    assert layout["layout"]["verdict"]["state"] == "tainted"


def test_too_few_cores_are_refused_with_their_number(sysfs: str) -> None:
    """Ten vCPUs beside 2 for the host, 1 for the daemon, 1 for QEMU: 14 - 8 cores lack."""
    head = HEAD + "guest: {vcpus: 10}\n"
    result = layout_for(plan_of(None, head=head), sysfs)
    assert (result["missing_cores"], result["exit_code"]) == (6, 2)


def test_stacks_that_this_host_skips_do_not_matter(sysfs: str) -> None:
    """The layout was made before it was known what the host can run."""
    layout = layout_for(plan_of(None), sysfs)
    plan = plan_of(layout, NVME)
    assert plan["environments"]["guest-1"]["guest"]["cpus"] == "3-4"


@pytest.mark.parametrize(
    ("made_for", "message"),
    [
        ((NVME,), "no CPUs for the target qsd-vhost-user-blk of kind qemu-storage-daemon"),
        ((HOST_RAM,), "it has no guest, and the plan has guest-1"),
    ],
)
def test_a_layout_for_other_stacks_is_refused(
    sysfs: str, made_for: tuple[str, ...], message: str
) -> None:
    """What has no CPUs in the layout is named."""
    layout = layout_for(plan_of(None, *made_for), sysfs)
    with pytest.raises(BadInputError, match=message):
        plan_of(layout)


def test_a_layout_for_fewer_vcpus_is_refused(sysfs: str) -> None:
    """Both numbers are told."""
    layout = layout_for(plan_of(None), sysfs)
    with pytest.raises(BadInputError, match="made for a guest with 2 vCPUs, guest-1 has 4"):
        plan_of(layout, head=HEAD + "guest: {vcpus: 4}\n")


def test_cpus_with_gaps_are_known(sysfs: str) -> None:
    """Of CPUs 0,2,4,6 the guest may name 4 and 6, though there are four."""
    head = HEAD + 'guest: {cpus: "4,6"}\n'
    assert plan_of(None, NVME, head=head, cpus="0,2,4,6")["skips"] == []
    with pytest.raises(BadInputError, match=r"guest\.cpus: 4,6, but the host has CPUs 0-3"):
        plan_of(None, NVME, head=head, cpus="0-3")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, Path, Path]:
    """An experiment, a host's capabilities, and a place for a layout."""
    experiment, capabilities = tmp_path / "mine.yml", tmp_path / "host.json"
    experiment.write_text(HEAD + WORKLOADS + "stacks:\n" + "".join(STACKS))
    capabilities.write_text(json.dumps(debian_12()))
    return str(experiment), capabilities, tmp_path / "layout.json"


def test_command_takes_a_layout_from_a_file_or_beside_the_capabilities(
    files: tuple[str, Path, Path], sysfs: str
) -> None:
    """Both ways give the same plan; the playbooks use the second; null is none."""
    experiment, capabilities, file = files
    layout = layout_for(plan_of(None), sysfs)
    file.write_text(json.dumps(layout))
    beside = capabilities.with_name("both.json")
    beside.write_text(json.dumps({"capabilities": debian_12(), "cpu_layout": layout}))
    neither = capabilities.with_name("neither.json")
    neither.write_text(json.dumps({"capabilities": debian_12(), "cpu_layout": None}))
    texts = []
    for arguments in (
        {"capabilities": capabilities, "cpu_layout": file},
        {"capabilities": beside},
        {"capabilities": neither},
    ):
        stream = io.StringIO()
        run_plan(experiment, run_id="r1", output_format="json", stream=stream, **arguments)
        texts.append(stream.getvalue())
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["cpu_layout"]["picture"] == layout["picture"]
    assert json.loads(texts[2])["cpu_layout"] is None


def test_table_ends_with_the_picture(files: tuple[str, Path, Path], sysfs: str) -> None:
    """A person can check it before anything runs."""
    file = files[2]
    layout = layout_for(plan_of(None), sysfs)
    file.write_text(json.dumps(layout))
    stream = io.StringIO()
    run_plan(files[0], cpu_layout=file, stream=stream)
    assert stream.getvalue().endswith(f"\n{layout['picture']}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "layout.json: cannot read the CPU layout"),
        ("[]", "found list, wanted layout, picture"),
        ('{"layout": {}}', r"found \['layout'\], wanted layout, picture, kernel_args, pinning"),
        (
            '{"layout": {"schema_version": 9}, "picture": "", "kernel_args": [], "pinning": {}}',
            "schema_version: found 9, wanted 1",
        ),
    ],
)
def test_unreadable_layouts_are_bad_input(
    files: tuple[str, Path, Path], content: str, message: str
) -> None:
    """What was found and what is wanted is told."""
    files[2].write_text(content)
    with pytest.raises(BadInputError, match=message):
        run_plan(files[0], cpu_layout=files[2], stream=io.StringIO())
