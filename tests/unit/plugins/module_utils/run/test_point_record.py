# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of fio's output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_fakes import BAD_OUTPUT, FIXTURES, GOOD_OUTPUT, plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file
from ansible_collections.nvmelab.bench.plugins.module_utils.run import point_record
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import (
    RunDirectory,
    sha256,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.verdict import HostFacts

GOOD = GOOD_OUTPUT.read_text()


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A run of one point."""
    made = RunDirectory.of(tmp_path, "run-1")
    made.create(plan(point(1), run_id="run-1"))
    return made


def conclude(directory: RunDirectory, **event: Any) -> dict[str, Any]:
    """Conclude the point with this end of fio; a good one where nothing is given."""
    whole = {"exit_code": 0, "stdout": GOOD, "stderr": "", "duration_s": 1.2, "gap_s": None}
    outcome = point_record.Outcome(["fio"], {**whole, **event}, 100.0, 101.5, 61.0)
    return point_record.conclude(directory, point(1), outcome, HostFacts())


def test_good_output_is_kept_verbatim(directory: RunDirectory) -> None:
    """The file holds fio's bytes, the record their digest, and the point counts as finished."""
    record = conclude(directory)
    assert directory.fio_path("0001").read_text() == GOOD
    assert record["output_sha256"] == sha256(directory.fio_path("0001"))
    assert record["output_file"] == "points/0001.fio.json"
    assert (record["state"], record["verdict"]["state"]) == ("ok", "clean")
    assert directory.is_finished("0001")
    assert json.loads(directory.record_path("0001").read_text()) == record


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        ({"exit_code": None, "stderr": "fio cannot be run: gone"}, "fio cannot be run: gone"),
        ({"exit_code": 0, "timed_out": True}, "fio did not end within 61 s and was stopped"),
        ({"exit_code": -9}, "fio was killed by SIGKILL"),
        ({"exit_code": -4}, "fio was killed by SIGILL: it was built for another CPU than runs it"),
        (
            {"exit_code": 1, "stderr": "note\nfio: engine x not loadable\nlast\n"},
            "fio ended with exit code 1: fio: engine x not loadable",
        ),
        ({"exit_code": 1, "stderr": "one\ntwo\n"}, "fio ended with exit code 1: two"),
        ({"stdout": ""}, "0001.fio.out"),
        ({"stdout": "{ rubbish"}, "0001.fio.out: line 1"),
        ({"stdout": GOOD[: len(GOOD) // 2]}, "0001.fio.out"),
        ({"stdout": BAD_OUTPUT.read_text()}, "error 2 (No such file or directory)"),
        ({"stdout": (FIXTURES / "gen-v3.42-zero-io.json").read_text()}, "did no I/O"),
    ],
)
def test_bad_end_is_a_failed_point_with_its_cause(
    directory: RunDirectory, event: dict[str, Any], cause: str
) -> None:
    """One line says why; what fio printed is kept under another name; nothing looks finished."""
    record = conclude(directory, **event)
    assert record["state"] == "failed"
    assert cause in record["reason"]
    assert "\n" not in record["reason"]
    assert record["verdict"]["state"] == "tainted"
    assert not directory.fio_path("0001").exists()
    assert directory.bad_output_path("0001").read_text() == event.get("stdout", GOOD)
    assert not directory.is_finished("0001")


def test_stderr_is_kept_in_the_logs(directory: RunDirectory) -> None:
    """Also of a good point: fio warns there."""
    conclude(directory, stderr="fio: something odd\n")
    assert directory.stderr_path("0001").read_text() == "fio: something odd\n"


def test_second_try_leaves_nothing_of_the_first(directory: RunDirectory) -> None:
    """A failed point that is run again does not keep the output and stderr of before."""
    conclude(directory, exit_code=1, stderr="bad\n")
    point_record.forget(directory, "0001")
    conclude(directory)
    assert not directory.bad_output_path("0001").exists()
    assert not directory.stderr_path("0001").exists()


def test_full_disk_leaves_no_record(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the output cannot be written there is no record either, so the point is run again."""

    def full(path: Path, *_: object, **__: object) -> None:
        raise atomic_file.FileWriteError(path, OSError(28, "No space left on device"))

    monkeypatch.setattr(atomic_file, "write_text", full)
    with pytest.raises(atomic_file.FileWriteError):
        conclude(directory)
    assert directory.record("0001") is None


def test_point_that_could_not_run_has_a_whole_record(directory: RunDirectory) -> None:
    """The same keys as a point that ran: who reads records needs no second way."""
    ran = conclude(directory)
    failed = point_record.failed(directory, point(1), "guest died")
    assert set(failed) == set(ran)
    assert (failed["state"], failed["reason"], failed["output_file"]) == (
        "failed",
        "guest died",
        None,
    )
