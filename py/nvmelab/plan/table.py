# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as a terminal table: stacks, points, expected time, and what is left out and why."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS
from nvmelab import skips

if TYPE_CHECKING:
    from collections.abc import Mapping


_TOTALS = ("points", "fio time")
_GAP = 2
_PATH_MIN = 30  # a path is a line or two then


def plan_table(plan: Mapping[str, Any], *, width: int | None = None) -> str:
    """The plan as text, at most ``width`` columns wide (default: the terminal's)."""
    stream = io.StringIO()
    console = Console(file=stream, width=width or shutil.get_terminal_size().columns)
    console.print(Text(_headline(plan)))
    console.print(_stacks(plan, console.width))
    for line in skips.lines(plan["skips"]):
        console.print(Text(f"skipped: {line}"), soft_wrap=True)
    if plan.get("cpu_layout"):
        console.print(Text(f"\n{plan['cpu_layout']['picture']}"), soft_wrap=True)
    return stream.getvalue()


def _headline(plan: Mapping[str, Any]) -> str:
    points, document = plan["points"], plan["experiment"]["document"]
    where = f" on {plan['host']}" if plan["host"] else ""
    accelerator = f", accelerator {plan['accelerator']}" if plan["accelerator"] else ""
    seconds = sum(point["expected_s"] for point in points)
    stacks = {point["stack"] for point in points}
    counts = (
        _count(len(stacks), "stack"),
        _count(len(document["workloads"]), "workload"),
        _count(plan["repetitions"], "repetition"),
    )
    return (
        f"{plan['experiment']['name']}{where}: {document['description']}\n"
        f"{_count(len(points), 'point')} ({', '.join(counts)}), seed {plan['seed']}; "
        f"fio runs {duration(seconds)}{accelerator}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _stacks(plan: Mapping[str, Any], width: int) -> Table:
    workloads = [workload["name"] for workload in plan["experiment"]["document"]["workloads"]]
    names = plan["experiment"]["document"]["stacks"]
    taken = sum(len(title) + _GAP for title in (max(names, key=len), *workloads, *_TOTALS))
    if width - taken < _PATH_MIN:
        workloads = []  # their sum is told
    counts = Counter((point["stack"], point["workload"]) for point in plan["points"])
    table = Table(box=None, pad_edge=False)
    table.add_column("stack", no_wrap=True, overflow="ignore")  # names are for copying
    table.add_column("path", overflow="fold")
    for title in (*workloads, *_TOTALS):
        table.add_column(title, justify="right", no_wrap=True)
    for name, stack in plan["experiment"]["document"]["stacks"].items():
        points = [point for point in plan["points"] if point["stack"] == name]
        cells = [str(counts[name, workload] or "-") for workload in workloads]
        seconds = sum(point["expected_s"] for point in points)
        total = (str(len(points)), duration(seconds)) if points else ("-", "skipped")
        table.add_row(Text(name), Text(path_of(stack)), *cells, *total)
    return table


def path_of(stack: Mapping[str, Any]) -> str:
    """The path in one line: backend, server, device and what is set on it.

    The transport is left out: the server has only one.
    """
    device = stack["device"]
    settings = [f"{name}={value}" for name, value in device["properties"].items()]
    if device["iothreads"]:
        settings.append(f"iothreads={device['iothreads']}")
    # A plan of before there were sizes has none of them.
    sizes = {key: stack.get(key) or 1 for key in ("devices", "server_cores", "guests")}
    settings += [f"{key}={value}" for key, value in sizes.items() if value > 1]
    own = [word for word in (stack.get("driver"),) if word in USER_SPACE_DRIVERS]
    parts = [stack["backend"]["kind"], stack["server"], device["model"], *own]
    words = [part for part in parts if part != "none"] or ["no device"]
    client = stack.get("client", "fio")
    on_host = [f"{client} on the host"] if stack["runs_on"] == "host" else []
    on_host = on_host or ([client] if client != "fio" else [])
    return " · ".join(words + on_host) + (f" ({', '.join(settings)})" if settings else "")


def duration(seconds: float) -> str:
    """``seconds`` for people: ``4.8 s``, ``2 min 05 s``, ``1 h 10 min``."""
    if seconds < 60:  # noqa: PLR2004 (a minute)
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 (an hour)
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
