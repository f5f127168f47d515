# SPDX-License-Identifier: GPL-3.0-or-later
"""``nvmelab plan`` shows what would run, and writes the plan that a host executes."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from plan_examples import HEAD, HOST_RAM, NVME, VFIO_USER, WORKLOADS, debian_12

from nvmelab.commands.plan import run_plan
from nvmelab.errors import BadInputError
from nvmelab.plan.table import duration, plan_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, Path]:
    """An experiment of three stacks, and the capabilities of a host that runs two."""
    experiment, capabilities = tmp_path / "mine.yml", tmp_path / "host.json"
    experiment.write_text(HEAD + WORKLOADS + "stacks:\n" + NVME + VFIO_USER + HOST_RAM)
    capabilities.write_text(json.dumps(debian_12()))
    return str(experiment), capabilities


def test_table_shows_points_time_and_skips(files: tuple[str, Path]) -> None:
    """Each stack has its line; a skipped one has its reason, whole, for copying."""
    stream = io.StringIO()
    assert run_plan(files[0], capabilities=files[1], host="lab-1", seed=3, stream=stream) == 0
    text = stream.getvalue()
    assert "example on lab-1" in text
    assert "8 points (2 stacks, 1 workload, 2 repetitions), seed 3; fio runs 8 s" in text
    assert "skipped: spdk-vfio-user: QEMU 7.2.22 has no device vfio-user-pci" in text
    rows = [line.split() for line in text.splitlines()]
    assert any(row[:1] == ["qemu-nvme"] and row[-4:] == ["4", "4", "4", "s"] for row in rows)


def test_without_capabilities_nothing_is_left_out(files: tuple[str, Path]) -> None:
    """The whole plan is shown for a host of which nothing is known."""
    stream = io.StringIO()
    run_plan(files[0], output_format="json", stream=stream)
    plan = json.loads(stream.getvalue())
    assert plan["skips"] == []
    assert plan["accelerator"] is None
    assert len(plan["points"]) == 12


def test_plan_is_written_whole(files: tuple[str, Path], tmp_path: Path) -> None:
    """The file is the JSON that would be printed, and nothing lies beside it."""
    out, stream = tmp_path / "out" / "plan.json", io.StringIO()
    out.parent.mkdir()
    for target in ({"out": out}, {"stream": stream}):
        run_plan(files[0], run_id="r1", output_format="json", **target)
    assert out.read_text() == stream.getvalue()
    assert list(out.parent.iterdir()) == [out]


def test_module_result_is_taken_as_it_comes(files: tuple[str, Path], tmp_path: Path) -> None:
    """The module's whole result, with the capabilities under their key, is understood."""
    wrapped = tmp_path / "result.json"
    wrapped.write_text(json.dumps({"changed": False, "capabilities": debian_12()}))
    streams = [io.StringIO(), io.StringIO()]
    for path, stream in zip((files[1], wrapped), streams, strict=True):
        run_plan(files[0], capabilities=path, run_id="r1", output_format="json", stream=stream)
    assert streams[0].getvalue() == streams[1].getvalue()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema_version": 1}'])
def test_unreadable_capabilities_are_bad_input(
    files: tuple[str, Path], tmp_path: Path, content: str
) -> None:
    """Empty, broken and incomplete files are refused by name."""
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(BadInputError):
        run_plan(files[0], capabilities=path, stream=io.StringIO())


def test_names_are_not_markup() -> None:
    """What looks like rich's markup in a file is shown as it is."""
    stack = {"device": {"model": "none", "properties": {}, "iothreads": 0}, "server": "none"}
    stack |= {"backend": {"kind": "none"}, "transport": "none", "runs_on": "guest"}
    document = {"description": "[bold]x[/]", "workloads": [], "stacks": {"a": stack}}
    plan = {"points": [], "skips": [{"stack": "a", "reason": "[red]no[/]"}], "seed": 1}
    plan |= {"host": None, "accelerator": None, "repetitions": 1}
    plan |= {"experiment": {"name": "n", "document": document}}
    text = plan_table(plan, width=100)
    assert "[bold]x[/]" in text
    assert "a: [red]no[/]" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.3, "0.3 s"), (43.2, "43.2 s"), (125, "2 min 05 s"), (3600, "1 h 00 min")],
)
def test_duration(seconds: float, text: str) -> None:
    """Times are told in the units that a person would use."""
    assert duration(seconds) == text
