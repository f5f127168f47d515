# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans, a stand-in for fio, and places that behave, or misbehave, as a test wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible_collections.nvmelab.bench.plugins.module_utils.run import agent_connection, executor
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "fio"
# Real output of fio 3.33: one job, read, 1001 ms, iodepth 8, no error.
GOOD_OUTPUT = FIXTURES / "gen-lat-only-pctl-3.33.json"
# Real output of fio 3.33 whose job ended with ENOENT.
BAD_OUTPUT = FIXTURES / "gen-missing-file-3.33.json"


def fake_fio(folder: Path, then: str = "", *, output: Path = GOOD_OUTPUT) -> str:
    """Return a program that answers --version and prints real output, after doing ``then``."""
    path = folder / "fio"
    path.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo fio-3.33; exit 0; fi\n'
        f"{then}\ncat {output}\n"
    )
    path.chmod(0o755)
    return str(path)


def point(number: int, environment: str = "host", **more: Any) -> dict[str, Any]:
    """One point as a plan writes it; the null engine, so no device."""
    return {
        "id": f"{number:04d}",
        "environment": environment,
        "stack": f"stack-{number}",
        "workload": "randread",
        "repetition": 1,
        "runs_on": "host" if environment == "host" else "guest",
        "device": None,
        "fio": {"rw": "randread", "bs": "4k", "iodepth": 8, "runtime": 1, "time_based": 1},
        "expected_s": 1.0,
        **more,
    }


def plan(*points: dict[str, Any], run_id: str = "20260101T000000Z-test-0001") -> dict[str, Any]:
    """A plan of these points; environments not named host are guests without devices."""
    environments: dict[str, Any] = {}
    for one in points:
        name = one["environment"]
        guest = None if name == "host" else {"name": name, "devices": []}
        environments[name] = {"targets": [], "guest": guest, "host_files": []}
    return {
        "schema_version": 1,
        "run_id": run_id,
        "host": "lab-1",
        "experiment": {"name": "test", "description": "", "digest": "0" * 64, "document": {}},
        "seed": 7,
        "repetitions": 1,
        "layout": "shared-guest",
        "accelerator": "tcg",
        "skips": [],
        "environments": environments,
        "points": list(points),
    }


def job(root: Path, whole_plan: dict[str, Any], *, fio: str) -> executor.Job:
    """A job whose run directory holds the plan already."""
    directory = RunDirectory.of(root, whole_plan["run_id"])
    directory.create(whole_plan)
    return executor.Job(
        directory=directory,
        capabilities={
            "fio": {"path": fio},
            "is_virtual_machine": False,
            "qemu": {"path": "qemu"},
            "guest_image": {"name": "image"},
        },
        agent_source=agent_connection.agent_source(),
    )


def launching(start: Callable[..., Any]) -> Callable[..., Any]:
    """A stand-in for launch_guest: what ``start`` returns is up as soon as it is waited for."""

    def launch(spec: dict[str, Any], **more: Any) -> Any:
        guest = start(spec, **more)
        return SimpleNamespace(wait=lambda: guest, check=lambda: None, stop=guest.stop)

    return launch


def wait_until(condition: Callable[[], Any], deadline_s: float = 30.0) -> None:
    """Return when the condition holds; fail the test when it does not come to."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
