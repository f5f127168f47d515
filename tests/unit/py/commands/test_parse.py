# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m nvmelab parse`` as a user types it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import (
    ROW_KEYS,
    rows_from_file,
)

FIXTURES = Path(__file__).resolve().parents[4] / "tests/fixtures/fio"
GOOD = str(FIXTURES / "gen-client-2hosts-3.33.json")
STATUS = str(FIXTURES / "gen-sigkill-3.33.json")
BAD = str(FIXTURES / "gen-truncated-fullfs-3.33.json")
EMPTY = str(FIXTURES / "syn-empty.json")
ODD_NAMES = str(FIXTURES / "gen-name-tab-newline-3.33.json")


def _parse(*arguments: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nvmelab", "parse", *arguments],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        stdin=stdin,
    )


def test_json_is_the_rows():
    """A list of objects, file by file as given, exactly the reader's rows."""
    done = _parse(GOOD, STATUS, "--format", "json")
    expected = [row.as_dict() for file in (GOOD, STATUS) for row in rows_from_file(file)]
    assert json.loads(done.stdout) == expected
    assert (done.returncode, done.stderr) == (0, "")


def test_bad_files_beside_good_ones():
    """The good one is printed, each bad one is named on stderr with its place, exit code 1."""
    done = _parse(BAD, GOOD, EMPTY, "nowhere.json", "--format", "json")
    assert done.returncode == 1
    assert {row["file"] for row in json.loads(done.stdout)} == {GOOD}
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert f"{BAD}: line 495, column 13: the file ends inside the document" in lines[0]
    assert f"{EMPTY}: line 1, column 1: the file is empty" in lines[1]
    assert "nowhere.json: cannot be read: No such file or directory" in lines[2]


def test_only_bad_files():
    """No rows are an empty list, still JSON."""
    done = _parse(BAD, "--format", "json")
    assert (json.loads(done.stdout), done.returncode) == ([], 1)


def test_job_that_failed_without_io_is_told():
    """The file is good and has no row; the job's error is not lost."""
    done = _parse(str(FIXTURES / "gen-missing-file-3.33.json"), "--format", "json")
    assert (json.loads(done.stdout), done.returncode) == ([], 0)
    assert "job 'miss' did no I/O: error 2 (No such file or directory)" in done.stderr


def test_csv():
    """The same rows with a header; nothing for what was not measured; names are quoted."""
    done = _parse(STATUS, ODD_NAMES, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    expected = [row.as_dict() for file in (STATUS, ODD_NAMES) for row in rows_from_file(file)]
    assert [list(row) for row in rows] == [list(ROW_KEYS)] * len(expected)
    assert [row["job_name"] for row in rows] == [row["job_name"] for row in expected]
    assert [float(row["iops"]) for row in rows] == [row["iops"] for row in expected]
    assert {row["hostname"] for row in rows} == {""}


def test_table():
    """A line a row under a header; a name with a newline stays on its line."""
    done = _parse(ODD_NAMES)
    header, line = done.stdout.splitlines()
    assert header.split()[:3] == ["file", "job", "direction"]
    assert r"tab\there\nnewline" in line


def test_standard_input():
    """``-`` reads what fio is piped into it."""
    with Path(STATUS).open("rb") as stream:
        done = _parse("-", "--format", "json", stdin=stream)
    assert len(json.loads(done.stdout)) == 6


@pytest.mark.parametrize("arguments", [(), ("--format", "xml", GOOD)])
def test_wrong_usage(arguments: tuple[str, ...]):
    """No file, or a format that there is not: exit code 2."""
    assert _parse(*arguments).returncode == 2


@pytest.mark.parametrize("output_format", ["table", "json", "csv"])
def test_reader_that_went_away_does_not_hide_bad_files(output_format: str) -> None:
    """With nobody reading standard output, the bad file is still named and the code still 1."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "nvmelab", "parse", GOOD, BAD, "--format", output_format]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, text=True)
    os.close(writing)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if BAD in line]


@pytest.mark.parametrize("output_format", ["json", "csv"])
def test_names_survive_any_terminal(output_format: str) -> None:
    """Data is UTF-8 whatever the terminal's encoding: a name is not turned into question marks."""
    plain, ascii_only = (
        subprocess.run(
            [sys.executable, "-m", "nvmelab", "parse", ODD_NAMES, "--format", output_format],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        ).stdout
        for encoding in ("utf-8", "ascii")
    )
    assert plain == ascii_only
    assert plain.decode("utf-8")


def test_failed_job_of_a_good_file_is_a_note() -> None:
    """A job without I/O has no row; it is named as a note, which is no refusal: exit code 0."""
    done = _parse(str(FIXTURES / "gen-missing-among-ok-3.33.json"))
    assert done.returncode == 0
    assert done.stderr.startswith("nvmelab: note: ")
    assert "'bad' did no I/O" in done.stderr
