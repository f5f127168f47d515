# SPDX-License-Identifier: GPL-3.0-or-later
"""``nvmelab plan`` and ``nvmelab schema``: what would run, and the format of an experiment."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, TextIO

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file
from nvmelab.experiment.document import find_experiment, json_schema, load_experiment
from nvmelab.plan.cpu_layout import Layout, checked_layout, read_layout
from nvmelab.plan.host_capabilities import read_host
from nvmelab.plan.points import Plan, make_plan
from nvmelab.plan.table import plan_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEFAULT_EXPERIMENT = "quick"


def run_plan(  # noqa: PLR0913 (one for each argument of the command)
    experiment: str = DEFAULT_EXPERIMENT,
    *,
    capabilities: Path | None = None,
    cpu_layout: Path | None = None,
    run_id: str | None = None,
    host: str | None = None,
    seed: int | None = None,
    stacks: Sequence[str] | None = None,
    output_format: str = "table",
    out: Path | None = None,
    stream: TextIO | None = None,
) -> int:
    """Print or write the plan of ``experiment``; the exit code, 0.

    Raises:
        BadInputError: the experiment, the capabilities or the CPU layout are wrong, or nothing can
            run.
    """
    loaded = load_experiment(find_experiment(experiment), stacks=stacks)
    found, layout = read_host(capabilities) if capabilities else (None, None)
    plan = make_plan(
        loaded,
        found,
        run_id=run_id,
        host=host,
        seed=seed,
        named_stacks=stacks or None,
        cpu_layout=_layout(cpu_layout, layout),
    )
    _emit(_text(plan, output_format), out, stream)
    return 0


def _layout(path: Path | None, beside: object) -> Layout | None:
    """The layout in ``path``, else the one that came with the capabilities, if any."""
    if path is not None:
        return read_layout(path)
    return checked_layout(beside) if beside is not None else None


def run_schema(*, out: Path | None = None, stream: TextIO | None = None) -> int:
    """Print or write the JSON Schema of an experiment file; the exit code, 0."""
    _emit(schema_text(), out, stream)
    return 0


def schema_text() -> str:
    """The JSON Schema as experiments/experiment.schema.json holds it."""
    return json.dumps(json_schema(), indent=1) + "\n"


def _text(plan: Plan, output_format: str) -> str:
    return json.dumps(plan, indent=1) + "\n" if output_format == "json" else plan_table(plan)


def _emit(text: str, out: Path | None, stream: TextIO | None) -> None:
    if out is None:
        (stream or sys.stdout).write(text)
    else:
        atomic_file.write_text(out, text)
