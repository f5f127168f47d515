# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's environments need of the host's CPUs: worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import needs

QSD, NVMF, VHOST = "qemu-storage-daemon", "spdk-nvmf-tgt", "spdk-vhost"


def device(
    iothreads: int = 0, export: str | None = None, *, name: str | None = None
) -> dict[str, Any]:
    """A device, served by QEMU unless it has an export; of a stack of its own unless named."""
    return {"name": name or f"io{iothreads}", "iothreads": iothreads, "export": export}


def environment(
    *targets: tuple[str, str | None],
    devices: tuple[dict[str, Any], ...] = (),
    **guest: Any,
) -> dict[str, Any]:
    """A guest's environment with targets of (kind, cpus)."""
    return {
        "targets": [{"kind": kind, "cpus": cpus} for kind, cpus in targets],
        "guest": {"vcpus": 2, "cpus": None, "iothread_cpus": None, "devices": devices, **guest},
    }


def needed(*environments: dict[str, Any], absent: tuple[str, ...] = (), **options: Any) -> Any:
    """Targets and guests for these environments."""
    found = needs(dict(zip("abc", environments, strict=False)), options, absent)
    return found["targets"], found["guests"]


@pytest.mark.parametrize(
    ("devices", "iothreads"),
    [
        ((), 0),
        ((device(),), 1),  # QEMU's main loop serves it
        ((device(export="x"),), 0),  # a target serves it
        ((device(1), device(3), device(2), device()), 3),  # one works at a time
        ((device(2, name="a_1"), device(2, name="a_2"), device(3)), 4),  # of one stack: all
    ],
)
def test_threads_of_qemu_that_serve_devices(
    devices: tuple[dict[str, Any], ...], iothreads: int
) -> None:
    """As many as the stack with most, for one stack works at a time."""
    assert needed(environment(devices=devices)) == (
        [],
        [{"name": "guest", "vcpus": 2, "iothreads": iothreads}],
    )


def test_targets_of_one_kind_share_and_kinds_that_are_up_together_do_not() -> None:
    """Three daemons and an SPDK target in one guest: a CPU for all daemons, one for SPDK."""
    targets, _ = needed(environment((QSD, None), (QSD, None), (VHOST, None), (QSD, None)))
    assert targets == [{"name": QSD, "cores": 1}, {"name": VHOST, "cores": 1}]


def test_targets_that_are_never_up_together_share() -> None:
    """A guest for each stack: of the two kinds one runs at a time."""
    targets, guests = needed(environment((QSD, None)), environment((VHOST, None)), environment())
    assert targets == [{"name": "targets", "cores": 1}]
    assert len(guests) == 1


def test_a_target_that_polls_several_cores_gets_them() -> None:
    """As many as the hungriest of its kind, for one environment is up at a time."""
    made = [environment((VHOST, None)) for _ in range(3)]
    for one, cores in zip(made, (None, 4, 2), strict=True):
        one["targets"][0].update({"cores": cores} if cores else {})
    assert needed(*made)[0] == [{"name": VHOST, "cores": 4}]


def test_guests_that_are_up_together_get_cpus_each() -> None:
    """As many as the largest group; the first of each group may share its CPUs with the others'."""
    alone, group = environment(), environment()
    group["peers"] = [{**group["guest"], "vcpus": 3} for _ in range(2)]
    _, guests = needed(alone, group)
    assert [(one["name"], one["vcpus"]) for one in guests] == [
        ("guest", 2), ("guest-2", 3), ("guest-3", 3),
    ]  # fmt: skip


def test_targets_that_this_host_cannot_start_need_nothing() -> None:
    """SPDK that is not there takes no CPU."""
    targets, _ = needed(environment((QSD, None), (NVMF, None)), absent=(NVMF, VHOST))
    assert targets == [{"name": QSD, "cores": 1}]


def test_lists_of_the_experiment_are_kept() -> None:
    """guest.cpus, iothread_cpus and server_cpus go in as lists, those of one kind together."""
    targets, guests = needed(
        environment((QSD, "4"), (QSD, "4-5"), (QSD, None), cpus="2-3", iothread_cpus="6")
    )
    assert guests == [{"name": "guest", "cpus": "2-3", "iothread_cpus": "6"}]
    assert targets == [
        {"name": QSD, "cores": 1},
        {"name": f"{QSD} (server_cpus)", "cpus": "4-5"},
    ]


def test_a_wish_replaces_what_it_names_and_nothing_else() -> None:
    """More cores for a target, a list for the IOThreads; the one guest needs no name."""
    targets, guests = needed(
        environment((QSD, None), (VHOST, None), devices=(device(),)),
        targets=[{"name": VHOST, "cores": 2, "cpus": None}],
        guests=[{"iothread_cpus": "6-7", "name": None}],
        smt="alone",
    )
    assert targets == [{"name": QSD, "cores": 1}, {"name": VHOST, "cores": 2}]
    assert guests == [{"name": "guest", "vcpus": 2, "iothread_cpus": "6-7"}]


def test_other_options_pass() -> None:
    """Housekeeping, device, smt and overcommit are the user's."""
    options = {"smt": "alone", "overcommit": True, "housekeeping_cores": 1}
    found = needs({"a": environment()}, options)
    assert {key: found[key] for key in options} == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": [{"name": "spdk", "cores": 2}]}, f"found 'spdk', wanted .*: {QSD}$"),
        ({"targets": [{"cores": 2}]}, "targets: found None"),
        ({"guests": [{"name": "two", "vcpus": 2}]}, "guests: found 'two', wanted .*: guest$"),
    ],
)
def test_wishes_for_what_is_not_there_are_refused(options: dict[str, Any], message: str) -> None:
    """The name and those that there are are told."""
    with pytest.raises(BadInputError, match=message):
        needed(environment((QSD, None)), **options)
