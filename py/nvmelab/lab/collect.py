# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the finished runs of every host of an inventory into the store."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nvmelab import units
from nvmelab.commands import console
from nvmelab.errors import NvmelabError
from nvmelab.lab.events import HostOutcome, reason_of
from nvmelab.lab.runner import Playbook, playbook_path, run_playbook
from nvmelab.store import parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nvmelab.lab.events import Event
    from nvmelab.store.folder import Added, Store

_FETCH = "nvmelab.bench.run_fetch"


@dataclass(frozen=True, slots=True)
class HostCollected:
    """What collecting did for one host.

    ``state`` is collected, nothing new, unreachable or failed; ``added`` are the records that are
    new or replaced; ``running`` the runs that are not over; ``problems`` say why something is not
    here.
    """

    host: str
    state: str
    added: tuple[Added, ...] = ()
    running: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether the host answered and all it offered is stored."""
        return self.state in ("collected", "nothing new")


def collect(
    store: Store,
    *,
    inventory: Sequence[str] | None,
    limit: str | None = None,
    extra_vars: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda _: None,
) -> list[HostCollected]:
    """Return what became of every host, by name.

    A record is added as soon as its archive is here, while other hosts are still sending.

    Raises:
        PlaybookError: Ansible could not start: bad inventory, no host in it.
        RecordError: a record of the store is damaged or newer than this nvmelab.
    """
    known = store.known()
    # One thread: DuckDB and fio's JSON are quick, and a second core is Ansible's.
    with store.incoming() as folder, ThreadPoolExecutor(max_workers=1) as pool:
        intake = _Intake(store, pool)

        def handle(event: Event) -> None:
            intake.take(event)
            on_event(event)

        outcomes = run_playbook(
            Playbook(
                playbook_path("collect.yml"),
                inventory=inventory or (),
                limit=limit,
                variables={"nvmelab_known": known, "nvmelab_fetched": str(folder.absolute())},
                extra_vars=extra_vars,
            ),
            handle,
        )
        return [intake.of_host(outcome) for outcome in outcomes.values()]


def as_table(collected: Sequence[HostCollected]) -> str:
    """Return one line a host and, below, what went wrong in full."""
    lines = [(host.host, host.state, _details(host)) for host in collected]
    problems = [f"{host.host}: {problem}" for host in collected for problem in host.problems]
    return "\n".join([console.table(("host", "result", "runs"), lines), *problems])


def _details(host: HostCollected) -> str:
    parts = [f"{added.run_id} ({_amount(added)})" for added in host.added]
    parts += [f"{run_id} still running" for run_id in host.running]
    return ", ".join(parts)


def _amount(added: Added) -> str:
    points = units.count(added.point_count, "point")
    return points if added.state == "complete" else f"{added.state}, {points}"


@dataclass
class _Offer:
    """What a host said that it sends, and what came."""

    running: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    arrived: list[Future[Added]] = field(default_factory=list)


class _Intake:
    """Follows the events of collect.yml; adds each archive when it is here."""

    def __init__(self, store: Store, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._pool = pool
        self._offers: dict[str, _Offer] = {}

    def take(self, event: Event) -> None:
        """Note an offer, add an archive."""
        if event.kind == "play":
            # 0.2 s, while Ansible is busy; not earlier, for threads and fork do not go together.
            self._pool.submit(parquet.warm_up)
        if event.action == _FETCH and event.kind in ("ok", "failed"):
            self._note(self._offers.setdefault(event.host, _Offer()), event)

    def _note(self, offer: _Offer, event: Event) -> None:
        if event.is_lost:
            offer.problems.append(reason_of(event))
        result = event.result or {}
        offer.running = tuple(str(run_id) for run_id in result.get("running") or ())
        offer.problems += [
            f"{skipped.get('run_id')}: left on the host: {skipped.get('reason')}"
            for skipped in result.get("skipped") or ()
        ]
        for archive in result.get("archives") or ():
            # Of a fetch that failed half way, what came before is good.
            if "dest" in archive:
                self._add(offer, Path(archive["dest"]), archive.get("sha256"))

    def _add(self, offer: _Offer, path: Path, sha256: str | None) -> None:
        task = self._pool.submit(self._store.add, path, sha256=sha256, consume=True)
        offer.arrived.append(task)

    def of_host(self, outcome: HostOutcome) -> HostCollected:
        """Return what became of the host, once its archives are in the store."""
        offer = self._offers.get(outcome.host, _Offer())
        problems = [outcome.message] if outcome.state != "ok" else []
        problems += offer.problems
        added = []
        for future in offer.arrived:
            try:
                added.append(future.result())
            except NvmelabError as error:
                problems.append(str(error))
        new = tuple(one for one in added if one.action != "unchanged")
        state = "collected" if new else "nothing new"
        if problems:
            state = "unreachable" if outcome.state == "unreachable" else "failed"
        return HostCollected(outcome.host, state, new, offer.running, tuple(problems))
