# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of a stack that are swept: stacks of their own, faults at the line that was written."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_examples import HEAD, HOST_RAM, NVME, VFIO_USER
from plan_examples import experiment as example

from nvmelab.experiment.document import ExperimentError, select_stacks
from nvmelab.experiment.stack_sweep import SWEPT, expand


def sized(stack: str, *lines: str) -> str:
    """The stack with further keys."""
    return stack + "".join(f"    {line}\n" for line in lines)


def nvme(name: str) -> str:
    """A stack of this name."""
    return NVME.replace("qemu-nvme", name)


def test_each_size_is_a_stack_named_after_it() -> None:
    """Devices, then cores, then guests in the name; what is no list is not in it."""
    stack = sized(VFIO_USER, "devices: [1, 4]", "server_cores: [1, 2]", "guests: 2")
    stacks = example(stack, NVME).stacks
    found = {name: (one.devices, one.server_cores, one.guests) for name, one in stacks.items()}
    assert found == {
        "spdk-vfio-user-d1-c1": (1, 1, 2),
        "spdk-vfio-user-d1-c2": (1, 2, 2),
        "spdk-vfio-user-d4-c1": (4, 1, 2),
        "spdk-vfio-user-d4-c2": (4, 2, 2),
        "qemu-nvme": (1, None, 1),
    }


SIZES = st.lists(st.integers(1, 24), min_size=1, max_size=4, unique=True)


@given(lists=st.dictionaries(st.sampled_from(sorted(SWEPT)), SIZES))
def test_every_combination_is_there_once(lists: dict[str, list[int]]) -> None:
    """As many stacks as combinations, of as many names, each led back to its place."""
    found = expand({"stacks": {"one": {**lists, "x": 1}, "two": {}}})
    stacks: dict[str, dict[str, Any]] = found.data["stacks"]
    assert len(stacks) == prod(len(values) for values in lists.values()) + 1
    assert not found.faults
    values = [tuple(one.get(key) for key in SWEPT) for one in stacks.values() if one]
    assert len(set(values)) == len(values)
    for name, stack in stacks.items():
        for key, sizes in lists.items() if name != "two" else ():
            place = sizes.index(stack[key])
            assert found.path_in_file(("stacks", name, key)) == ("stacks", "one", key, place)
            assert found.path_in_file(("stacks", name, "x")) == ("stacks", "one", "x")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("devices: [1, 25]",), r"\.yml:15: stacks\.qemu-nvme\.devices\[1\]: found 25; .* 24"),
        (("devices: 0",), r"\.yml:15: stacks\.qemu-nvme\.devices: found 0; .* 1"),
        (("devices: [2, 2]",), r"devices\[1\]: found 2 a second time"),
        (("devices: []",), r"devices: found an empty list: it would leave zero stacks"),
        (("guests: [1, two]",), r"guests: found \[1, 'two'\]; wanted a whole number"),
        (("server_cores: 2",), r"server_cores: found 2, but server: qemu polls no core"),
        (("devices: 2", "engine: {stonewall: 1}"), r"devices: found 2 with fio's stonewall"),
        (
            ("devices: [1, 2]", "engine: {cpus_allowed: 1-2}"),
            r"\.yml:16: stacks\.qemu-nvme\.engine\.cpus_allowed: found '1-2'.* its CPUs are 0-1",
        ),
    ],
)
def test_a_fault_is_told_where_it_was_written(lines: tuple[str, ...], message: str) -> None:
    """The file's line and name, not those of the stack that was made of it."""
    with pytest.raises(ExperimentError, match=message):
        example(sized(NVME, *lines))


def test_cpus_that_the_guest_has_not_are_told_before_it_boots() -> None:
    """Else fio refuses each point. A stack's own win; those of the host are another matter."""
    bad, good = (
        HEAD.replace("direct: 1", f"direct: 1, cpus_allowed: {one}") for one in ("0-3", "1")
    )
    with pytest.raises(ExperimentError, match=r"fio\.cpus_allowed: found '0-3'.*vcpus is 2") as e:
        example(NVME, VFIO_USER, head=bad)
    assert len(str(e.value).splitlines()) == 1
    example(sized(NVME, "engine: {cpus_allowed: 0}"), HOST_RAM, head=bad)
    example(NVME, head=good)
    example(sized(NVME, "engine: {cpus_allowed: what}"))


@pytest.mark.parametrize(
    ("stacks", "message"),
    [
        ((sized(VFIO_USER, "server_cores: 2", 'server_cpus: "3"'),), "keep one of them"),
        (
            (nvme("n-d2"), sized(nvme("n"), "devices: [2]")),
            r"stacks\.n: makes a stack 'n-d2', as does 'n-d2'; rename one",
        ),
        (
            (sized(nvme(37 * "n"), "devices: [1, 24]"),),
            "makes the name '.*-d24', longer than 40 characters",
        ),
        (("  a: {runs_on: host, ceiling: true, guests: 2}\n",), "found 2 with runs_on: host"),
        (
            (sized(VFIO_USER, "guests: 2", "client: spdk_nvme_perf"),),
            "found 2 with client: spdk_nvme_perf; allowed: 1",
        ),
        (("  a: {ceiling: true, devices: 2}\n",), "model is none; for several jobs write numjobs"),
    ],
)
def test_sizes_that_do_not_go_together(stacks: tuple[str, ...], message: str) -> None:
    """Each is refused with what to do."""
    with pytest.raises(ExperimentError, match=message):
        example(*stacks)


def test_guests_share_the_files_list_of_cpus() -> None:
    """The list must have a CPU for each vCPU of all guests."""
    stack = sized(NVME, "guests: 2")
    assert example(stack, head=HEAD + 'guest: {vcpus: 2, cpus: "4-7"}\n').stacks["qemu-nvme"]
    with pytest.raises(ExperimentError, match=r"guest\.cpus '4-6' has not the 4"):
        example(stack, head=HEAD + 'guest: {vcpus: 2, cpus: "4-6"}\n')


def test_the_name_of_a_swept_stack_means_all_its_sizes() -> None:
    """One size by its whole name, all by the stack's, and no other stack that begins so."""
    swept = sized(NVME, "devices: [1, 2]", "guests: [1, 2]")
    whole = example(swept, nvme("qemu-nvme-dx"))
    sizes = [f"qemu-nvme-d{d}-g{g}" for d in (1, 2) for g in (1, 2)]
    assert list(select_stacks(whole, ["qemu-nvme"]).stacks) == sizes
    assert list(select_stacks(whole, ["qemu-nvme-d2"]).stacks) == sizes[2:]
    assert list(select_stacks(whole, [sizes[1]]).stacks) == [sizes[1]]
    with pytest.raises(ExperimentError, match="no stack of that name"):
        select_stacks(whole, ["qemu"])
