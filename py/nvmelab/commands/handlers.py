# SPDX-License-Identifier: GPL-3.0-or-later
"""What each command of the command line does; every function returns an exit code.

Modules that take long to load are loaded by the command that needs them.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvmelab.commands import console
from nvmelab.commands.query import Query
from nvmelab.errors import BadInputError, NvmelabError
from nvmelab.store.folder import Store, default_path, whole_file

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    from nvmelab.store.folder import Added
    from nvmelab.store.records import Run


def _store(args: Namespace) -> Store:
    return Store(args.store or default_path())


def run(args: Namespace) -> int:
    """Measure, collect and show: full-bench.yml."""
    from nvmelab.lab import bench  # noqa: PLC0415
    from nvmelab.lab.progress import Progress  # noqa: PLC0415

    order = bench.Order(
        inventory=tuple(args.inventory or ()),
        limit=args.limit,
        extra_vars=tuple(args.extra_vars),
        experiment=args.experiment,
        stacks=tuple(args.stack),
        run_id=args.run_id,
        store=_store(args),
        report=args.report,
    )
    began = time.time()
    with Progress(verbose=args.verbose) as progress:
        done = bench.bench(order, progress.show)
    if done.run_id in order.store.run_ids():
        _print_table(order.store.load(done.run_id))
    report = args.report or Path("report.html")
    if report.is_file() and report.stat().st_mtime >= began:
        console.out(f"report: {report}")
    for outcome in done.failures:
        console.err(f"nvmelab: {outcome.host}: {outcome.state}: {outcome.message}")
    return done.exit_code


def collect(args: Namespace) -> int:
    """Fetch finished runs; one line a host."""
    from nvmelab.lab import collect as collecting  # noqa: PLC0415
    from nvmelab.lab.progress import Progress  # noqa: PLC0415

    with Progress(verbose=args.verbose, brief=True) as progress:
        collected = collecting.collect(
            _store(args),
            inventory=args.inventory,
            limit=args.limit,
            extra_vars=args.extra_vars,
            on_event=progress.show,
        )
    console.out(collecting.as_table(collected))
    return 0 if all(host.is_good for host in collected) else 1


def doctor(args: Namespace) -> int:
    """Audit the hosts and print what to change."""
    from nvmelab.commands.doctor import run_doctor  # noqa: PLC0415

    return run_doctor(
        inventory=args.inventory,
        limit=args.limit,
        extra_vars=args.extra_vars,
        output_format=args.format,
        verbose=args.verbose,
    )


def list_runs(args: Namespace) -> int:
    """Print the runs of the store."""
    query = Query(args.query) if args.query else None
    entries = _entries(_store(args))
    if query or args.format == "json":
        _print_json(query.search(entries) if query else entries)
        return 0
    if not entries:
        console.out(f"no runs in the store {_store(args).path}")
        return 0
    headers = ("run", "experiment", "state", "verdict", "points", "hosts")
    lines = [
        (
            entry["run_id"],
            entry["experiment"] or "",
            entry["state"],
            entry["verdict"],
            f"{entry['points_done']}/{entry['points_planned']}",
            " ".join(entry["hosts"]),
        )
        for entry in entries
    ]
    console.out(console.table(headers, lines, right=("points",)))
    return 0


def _entries(store: Store) -> list[dict[str, Any]]:
    """Return one entry a run, its hosts put together: the worst of their states and verdicts."""
    by_run: dict[str, list[dict[str, Any]]] = {}
    for manifest in store.manifests():
        by_run.setdefault(manifest["run_id"], []).append(manifest)
    return [_entry(run_id, by_run[run_id]) for run_id in sorted(by_run)]


def _entry(run_id: str, manifests: list[dict[str, Any]]) -> dict[str, Any]:
    states = {manifest["state"] for manifest in manifests}
    verdicts = {(manifest.get("verdict") or {}).get("state", "unknown") for manifest in manifests}
    return {
        "run_id": run_id,
        "experiment": (manifests[0].get("experiment") or {}).get("name"),
        "started_at": min(str(manifest.get("started_at")) for manifest in manifests),
        "state": _first(("failed", "interrupted", "partial", "complete"), states),
        "verdict": _first(("tainted", "unknown", "clean"), verdicts),
        "points_done": sum(manifest.get("points_done") or 0 for manifest in manifests),
        "points_planned": sum(manifest.get("points_planned") or 0 for manifest in manifests),
        "hosts": sorted(manifest["host"] for manifest in manifests),
    }


def _first(ordered: tuple[str, ...], found: set[str]) -> str:
    return next((name for name in ordered if name in found), min(found))


def show(args: Namespace) -> int:
    """Print one run."""
    query = Query(args.query) if args.query else None
    runs = _store(args).load(args.run)
    if args.host:
        hosts = [run.host for run in runs]
        runs = [run for run in runs if run.host == args.host]
        if not runs:
            raise BadInputError(
                f"host {args.host!r} has no record of this run; there are: {', '.join(hosts)}"
            )
    if query or args.format == "json":
        data = [{**run.manifest, "rows": [row.as_dict() for row in run.rows]} for run in runs]
        _print_json(query.search(data) if query else data)
    else:
        _print_table(runs)
    return 0


def _print_table(runs: list[Run]) -> None:
    from rich.console import Console  # noqa: PLC0415

    from nvmelab.show.table import render_run  # noqa: PLC0415

    Console(file=sys.stdout).print(render_run(runs))


def _load_all(store: Store, wanted: list[str]) -> list[Run]:
    """Return the records of all runs; a run named twice, in whatever way, comes once."""
    ids = dict.fromkeys(store.resolve(name) for name in wanted)
    return [run for run_id in ids for run in store.load(run_id)]


def report(args: Namespace) -> int:
    """Write the HTML report."""
    from nvmelab.show.report import render_html  # noqa: PLC0415

    runs = _load_all(_store(args), args.run)
    html = render_html(runs)
    with whole_file(args.out) as path:
        path.write_text(html, encoding="utf-8")
    if args.table:
        _print_table(runs)
    console.out(f"report: {args.out}")
    return 0


def parse(args: Namespace) -> int:
    """Print the rows of fio output files."""
    from nvmelab.commands import fio_files  # noqa: PLC0415

    rows, problems, notes = fio_files.read(args.files)
    if rows or args.format != "table":
        console.out_whole(fio_files.render(rows, args.format))
    for line in notes:
        console.err(f"nvmelab: note: {line}")
    for line in problems:
        console.err(f"nvmelab: {line}")
    return 1 if problems else 0


def export(args: Namespace) -> int:
    """Write the rows of runs for other tools."""
    from nvmelab.commands.export import export_rows  # noqa: PLC0415

    store = _store(args)
    ids = dict.fromkeys(store.resolve(name) for name in args.run)
    folders = [folder for run_id in ids for folder in store.folders(run_id)]
    if args.out:
        with whole_file(args.out) as path:
            export_rows(folders, args.format, path)
        return 0
    if args.format == "parquet" and sys.stdout.isatty():
        raise BadInputError("Parquet is binary: name a file with --out, or redirect the output")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        export_rows(folders, args.format, path)
        sys.stdout.flush()
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return 0


def plan(args: Namespace) -> int:
    """Check and expand an experiment."""
    from nvmelab.commands.plan import run_plan  # noqa: PLC0415

    return run_plan(
        args.experiment,
        capabilities=args.capabilities,
        cpu_layout=args.cpu_layout,
        run_id=args.run_id or None,
        host=args.host,
        seed=args.seed,
        stacks=args.stack or None,
        output_format=args.format,
        out=args.out,
    )


def schema(args: Namespace) -> int:
    """Print the JSON Schema of experiments."""
    from nvmelab.commands.plan import run_schema  # noqa: PLC0415

    return run_schema(out=args.out)


def store(args: Namespace) -> int:
    """Add archives, or say what is known."""
    if args.action == "known":
        _print_json(_store(args).known())
        return 0
    code = 0
    for added in _added(_store(args), args):
        if isinstance(added, NvmelabError):
            console.err(f"nvmelab: {added}")
            code = 1
        else:
            console.out(f"{added.action} {added.run_id} {added.host} ({added.state})")
    return code


def _added(store: Store, args: Namespace) -> Iterator[Added | NvmelabError]:
    for archive in args.archives:
        try:
            yield store.add(archive)
        except NvmelabError as error:
            yield error
    if args.fetched:
        yield from store.add_fetched(args.fetched)


def _print_json(data: object) -> None:
    console.out(json.dumps(data, indent=2, ensure_ascii=False))


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "run": run,
    "collect": collect,
    "doctor": doctor,
    "list": list_runs,
    "show": show,
    "report": report,
    "parse": parse,
    "export": export,
    "plan": plan,
    "schema": schema,
    "store": store,
}
