# SPDX-License-Identifier: GPL-3.0-or-later
"""From an experiment and a lab host's capabilities to the plan: what runs, where, in what order."""

from __future__ import annotations

import hashlib
import random
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.client import (
    workload as client_workload,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import device_node
from nvmelab.errors import BadInputError
from nvmelab.experiment import fio_options
from nvmelab.experiment.document import digest, key_path, select_stacks
from nvmelab.experiment.stack_sweep import meant_by
from nvmelab.plan import cpu_layout as plan_cpu_layout
from nvmelab.plan import environments as plan_environments
from nvmelab.plan import requirements as stack_requirements
from nvmelab.plan import sizes
from nvmelab.plan.host_capabilities import Capabilities, capabilities_from
from nvmelab.skips import lines as skip_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nvmelab.experiment.model import Experiment, Stack, Workload

PLAN_VERSION = 1  # 1: issue 2

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ID_DIGITS = 4
_LIMIT_FACTOR = 3.0

Plan = dict[str, Any]


class PlanError(BadInputError):
    """Nothing, or not what the user named, can run on this host."""


def make_run_id(experiment_name: str) -> str:
    """A new run id: the time in UTC, the experiment, four random hexadecimal digits."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{now}-{experiment_name}-{secrets.token_hex(2)}"


def draw_seed(run_id: str) -> int:
    """The seed of a run that names none: the same for every host of the run."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4], "big")


def make_plan(
    experiment: Experiment,
    capabilities: Mapping[str, Any] | None,
    *,
    run_id: str | None = None,
    host: str | None = None,
    seed: int | None = None,
    named_stacks: Sequence[str] | None = None,
    cpu_layout: plan_cpu_layout.Layout | None = None,
) -> Plan:
    """The plan of ``experiment`` for one host, as JSON data.

    ``capabilities`` is what capabilities_info returned; None leaves nothing out. The seed is
    ``seed``, else the experiment's, else drawn from the run id. ``cpu_layout`` pins what the
    experiment does not.

    Raises:
        BadInputError: a named stack cannot run, no stack can, or the host's memory is too small.
    """
    experiment = select_stacks(experiment, named_stacks) if named_stacks else experiment
    known = None if capabilities is None else capabilities_from(capabilities)
    skips = _skips(experiment, known, host) if known else []
    _require_runnable(experiment, skips, named_stacks or (), host)
    runnable = [name for name in experiment.stacks if name not in {s["stack"] for s in skips}]
    groups = plan_environments.group(experiment, runnable)
    if known:
        _require_memory(experiment, groups, known, host)
    run_id = _checked_run_id(run_id or make_run_id(experiment.name))
    seed = next(s for s in (seed, experiment.seed, draw_seed(run_id)) if s is not None)
    return {
        "schema_version": PLAN_VERSION,
        "run_id": run_id,
        "host": host,
        "experiment": _experiment_data(experiment),
        "seed": seed,
        "repetitions": experiment.repetitions,
        "layout": experiment.layout,
        "accelerator": known.accelerator.name if known and known.accelerator else None,
        "skips": skips,
        "cpu_layout": plan_cpu_layout.recorded(cpu_layout),
        "environments": plan_cpu_layout.pinned(
            plan_environments.environments(experiment, groups, known), cpu_layout
        ),
        "points": _points(experiment, groups, seed),
    }


def _experiment_data(experiment: Experiment) -> dict[str, Any]:
    return {
        "name": experiment.name,
        "description": experiment.description,
        "digest": digest(experiment),
        "document": experiment.document(),
    }


def _checked_run_id(run_id: str) -> str:
    if not _RUN_ID.fullmatch(run_id):
        wanted = "wanted letters, digits, '.', '_' and '-': it names a directory"
        raise PlanError(f"run id: found {run_id!r}; {wanted}")
    return run_id


def _skips(
    experiment: Experiment, capabilities: Capabilities, host: str | None
) -> list[dict[str, str]]:
    """The stacks that the host cannot run, each with its reason; slips in properties raise."""
    faults = [
        f"experiment {experiment.name}{_on(host)}: stacks.{name}.{key_path(fault.path)}: "
        f"{fault.message}"
        for name, stack in experiment.stacks.items()
        for fault in stack_requirements.property_faults(stack, capabilities)
    ]
    if faults:
        raise PlanError("\n".join(faults))
    reasons = {
        name: stack_requirements.skip_reason(
            stack, experiment.guest, _engines(experiment, stack), capabilities
        )
        for name, stack in experiment.stacks.items()
    }
    return [{"stack": name, "reason": reason} for name, reason in reasons.items() if reason]


def _engines(experiment: Experiment, stack: Stack) -> frozenset[str]:
    """The fio engines that the stack's points use; fio's own default is psync."""
    if stack.client != client_workload.FIO:
        return frozenset()
    return frozenset(
        str(options.get("ioengine", "psync"))
        for workload in experiment.workloads
        for options in fio_options.expand(experiment.options(stack, workload))
    )


def _require_runnable(
    experiment: Experiment,
    skips: Sequence[Mapping[str, str]],
    named: Sequence[str],
    host: str | None,
) -> None:
    """Refuse a plan with zero points, and one without a point of what the user named.

    The name of a stack whose size is swept means all its sizes: one that runs is enough.
    """
    cannot = {skip["stack"] for skip in skips}
    meant = [set(meant_by(name, experiment.stacks)) for name in named] or [set(experiment.stacks)]
    lacking = set().union(*(stacks for stacks in meant if stacks <= cannot))
    if not lacking:
        return
    what = "named stacks cannot run" if named else "no stack can run: the plan has zero points"
    head = f"experiment {experiment.name}{_on(host)}: {what}"
    causes = skip_lines(skip for skip in skips if skip["stack"] in lacking)
    if len(causes) == 1:
        raise PlanError(f"{head}: {causes[0]}")
    raise PlanError("\n  ".join([head, *causes]))


def _require_memory(
    experiment: Experiment,
    groups: Mapping[str, Sequence[str]],
    capabilities: Capabilities,
    host: str | None,
) -> None:
    """Refuse a guest that leaves the host no memory together with all its RAM backends."""
    on_host = groups.get(plan_environments.HOST, ())
    for environment, names in groups.items():
        together = {*names, *on_host}
        wanted = sum(stack_requirements.memory_mib(experiment.stacks[name]) for name in together)
        if environment != plan_environments.HOST:
            guests = max(experiment.stacks[name].guests for name in names)
            wanted += experiment.guest.memory_mib * guests
        if wanted > capabilities.memory_mib:
            raise PlanError(
                f"experiment {experiment.name}{_on(host)}: {environment} and the RAM backends need "
                f"{wanted} MiB of memory, found {capabilities.memory_mib} MiB; choose fewer "
                "stacks, smaller sizes, or layout: guest-per-stack"
            )


def _on(host: str | None) -> str:
    return f" on {host}" if host else ""


def _points(
    experiment: Experiment, groups: Mapping[str, Sequence[str]], seed: int
) -> list[dict[str, Any]]:
    """Every point in run order: each repetition whole, its environments and points shuffled."""
    drawn = random.Random(seed)  # noqa: S311 (an order, not a secret)
    blocks = {name: _block(experiment, name, stacks) for name, stacks in groups.items()}
    ordered = []
    for repetition in range(1, experiment.repetitions + 1):
        for environment in drawn.sample(list(blocks), len(blocks)):
            points = drawn.sample(blocks[environment], len(blocks[environment]))
            ordered += [{**point, "repetition": repetition} for point in points]
    digits = max(_ID_DIGITS, len(str(len(ordered))))
    return [{"id": f"{number:0{digits}}", **point} for number, point in enumerate(ordered, start=1)]


def _block(experiment: Experiment, environment: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The points of one repetition in one environment, in the file's order."""
    return [
        {
            "environment": environment,
            "stack": name,
            "workload": workload.name,
            "repetition": 0,  # filled in when the block is repeated
            "runs_on": stack.runs_on,
            "client": stack.client,
            "client_cpus": stack.client_cpus,
            "device": sizes.first_device(name, stack),
            **sizes.parts(environment, name, stack),
            "fio": options,
            "expected_s": fio_options.expected_s(options),
            "limit_s": _limit_s(fio_options.expected_s(options), experiment.point_margin_s),
        }
        for name, stack in ((name, experiment.stacks[name]) for name in names)
        for workload in experiment.workloads
        for options in _options(experiment, stack, workload)
    ]


def _options(
    experiment: Experiment, stack: Stack, workload: Workload
) -> Iterator[dict[str, fio_options.Value]]:
    """Every point's options, with those that the engine needs on the stack's device."""
    for options in fio_options.expand(experiment.options(stack, workload)):
        is_fio = stack.client == client_workload.FIO
        yield device_node.completed(options, stack.driver) if is_fio else options


def _limit_s(expected_s: float, margin_s: int) -> float:
    """After how many seconds fio counts as hung."""
    return max(expected_s * _LIMIT_FACTOR, expected_s + margin_s)
