# SPDX-License-Identifier: GPL-3.0-or-later
"""``nvmelab run``: full-bench.yml, and what stops it everywhere when the user has enough."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nvmelab.errors import NvmelabError
from nvmelab.lab.runner import InterruptedRunError, Playbook, playbook_path, run_playbook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nvmelab.lab.events import Event, HostOutcome
    from nvmelab.store.folder import Store

_STOP_DEADLINE_S = 120


@dataclass(frozen=True)
class Order:
    """What the user asked for; ``None`` leaves it to the inventory and the playbooks."""

    inventory: tuple[str, ...]
    limit: str | None
    extra_vars: tuple[str, ...]
    experiment: str | None
    stacks: tuple[str, ...]
    run_id: str | None
    store: Store
    report: Path | None


@dataclass(frozen=True)
class Done:
    """How it went: ``run_id`` is empty when the experiment was refused."""

    run_id: str
    outcomes: dict[str, HostOutcome]

    @property
    def failures(self) -> list[HostOutcome]:
        """The hosts that did not get through."""
        return [outcome for outcome in self.outcomes.values() if outcome.state != "ok"]

    @property
    def exit_code(self) -> int:
        """0 when all hosts got through; 2 when all failures are bad input; else 1."""
        codes = {outcome.exit_code for outcome in self.failures}
        return 1 if 1 in codes else max(codes, default=0)


def bench(order: Order, on_event: Callable[[Event], None]) -> Done:
    """Measure, collect and report; see the playbook.

    Raises:
        BadInputError: the experiment is wrong; nothing was touched.
        PlaybookError: Ansible could not start.
        InterruptedRunError: stopped by a signal; the runs on the hosts were stopped too.
    """
    _check(order)
    watch = _RunId(order.run_id or "")

    def handle(event: Event) -> None:
        watch.take(event)
        on_event(event)

    playbook = Playbook(
        playbook_path("full-bench.yml"),
        inventory=order.inventory,
        limit=order.limit,
        variables=_variables(order),
        extra_vars=order.extra_vars,
    )
    try:
        outcomes = run_playbook(playbook, handle)
    except InterruptedRunError as interrupt:
        raise _stopped(playbook, watch.run_id, on_event, interrupt) from interrupt
    return Done(watch.run_id, outcomes)


def _check(order: Order) -> None:
    """Refuse a bad experiment in a quarter of a second, before Ansible starts."""
    if order.experiment is None:
        return
    from nvmelab.experiment.document import find_experiment, load_experiment  # noqa: PLC0415

    load_experiment(find_experiment(order.experiment), stacks=order.stacks or None)


def _variables(order: Order) -> dict[str, Any]:
    given = {
        "nvmelab_experiment": order.experiment,
        "nvmelab_stacks": list(order.stacks),
        "nvmelab_run_id": order.run_id,
        "nvmelab_report": str(order.report) if order.report else None,
        "nvmelab_store": str(order.store.path.absolute()),
    }
    return {name: value for name, value in given.items() if value}


def _stopped(
    playbook: Playbook,
    run_id: str,
    on_event: Callable[[Event], None],
    interrupt: InterruptedRunError,
) -> InterruptedRunError:
    """Stop the run on all hosts; return what to tell the user."""
    if not run_id:
        return InterruptedRunError(f"{interrupt}; nothing had been started on the hosts")
    stop = replace(
        playbook,
        path=playbook_path("stop.yml"),
        variables={**playbook.variables, "nvmelab_run_id": run_id},
    )
    later = "a host that was not told stops by itself when its lease ends"
    try:
        outcomes = run_playbook(stop, on_event, timeout_s=_STOP_DEADLINE_S)
    except NvmelabError as error:
        return InterruptedRunError(f"{interrupt}; stopping the run on the hosts: {error}; {later}")
    bad = [f"{host.host}: {host.message}" for host in outcomes.values() if host.state != "ok"]
    if bad:
        return InterruptedRunError(f"{interrupt}; not stopped: {'; '.join(bad)}; {later}")
    return InterruptedRunError(
        f"{interrupt}; run {run_id} was stopped on {', '.join(outcomes)};"
        " what it measured is kept there: `nvmelab collect` gets it"
    )


class _RunId:
    """Learns the run's id from the plan that preflight.yml makes on the control node."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def take(self, event: Event) -> None:
        """Look into the result of a command, until one prints a plan."""
        if self.run_id or event.kind != "ok" or not event.result:
            return
        command = event.result.get("cmd") or ()
        if "nvmelab" in command and "plan" in command:
            try:
                self.run_id = str(json.loads(event.result.get("stdout") or "{}")["run_id"])
            except (ValueError, KeyError, TypeError):
                return
