# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is not fio's JSON is refused with one error: file, place, cause."""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import TYPE_CHECKING

import pytest
from fio_test_files import FIXTURES, fixture, fixture_text

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import (
    FioOutputError,
    output_from_bytes,
    output_from_file,
    rows_from_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {
    "gen-truncated-fullfs-3.33.json": (495, "ends inside the document that begins at line 1"),
    "gen-truncated-head5000-3.33.json": (195, "ends inside the document that begins at line 1"),
    "gen-terse-v2.terse": (1, "terse output of fio; run fio again with --output-format=json+"),
    "gen-terse-v3.terse": (1, "terse output of fio"),
    "gen-client-terse-3.33.terse": (10, "terse output of fio"),
    "gen-v3.33-randrw.txt": (7, "human-readable (normal) output of fio"),
    "gen-client-normal-3.33.txt": (13, "human-readable (normal) output of fio"),
    "gen-parse-error-3.33.txt": (1, "only messages of fio: 'fio: failed parsing rw=sideways'"),
    "gen-client-refused-3.33.txt": (2, "'fio: failed to connect to 127.0.0.1:1'"),
    "gen-log-avg-3.33-t_bw.1.log": (1, "a log of fio"),
    "syn-empty.json": (1, "the file is empty (0 bytes)"),
    "syn-garbage.txt": (1, "only binary data"),
    "syn-nan.json": (80, "nan is not a JSON number"),
    "syn-not-fio.json": (1, "JSON, but not of fio"),
}
GOOD = fixture_text("gen-one-io-3.33.json")


@pytest.mark.parametrize("name", FILES)
def test_fixture_is_refused(name: str):
    """Real files that are something else, or broken."""
    path = fixture(name)
    line, cause = FILES[name]
    with pytest.raises(FioOutputError) as caught:
        output_from_file(path)
    assert str(caught.value).startswith(f"{path}: line {line}, column ")
    assert cause in caught.value.cause
    assert "\n" not in str(caught.value)


def test_every_other_fixture_is_read():
    """What is not in the list above is good."""
    for path in (*FIXTURES.glob("gen-*"), *FIXTURES.glob("syn-*")):
        if path.name not in FILES:
            assert output_from_file(path).document_count > 0


def _refusal(text: str) -> FioOutputError:
    with pytest.raises(FioOutputError) as caught:
        rows_from_text(text, file="f")
    return caught.value


def test_it_is_an_error_of_nvmelab():
    """The command line prints it in one line and ends with 1."""
    error = _refusal("")
    assert isinstance(error, NvmelabError)
    assert error.exit_code == 1


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "NaN", "-Infinity", "Infinity"])
def test_value_that_fio_could_not_compute(value: str):
    """C's and JavaScript's spelling of what JSON has no number for, at its place."""
    text = GOOD.replace('"iops" : 1000.000000', f'"NaN" : "NaN", "iops" : {value}', 1)
    error = _refusal(text)
    line = text[: text.index('"iops" : ')].count("\n") + 1
    assert error.line == line
    assert value in error.cause


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "=======", ">>>>>>> 1234abc (branch)"])
def test_conflict_marker_in_a_document(marker: str):
    """Named as what it is, at its line."""
    lines = GOOD.split("\n")
    error = _refusal("\n".join([*lines[:2], marker, *lines[2:]]))
    assert (error.line, error.column) == (3, 1)
    assert error.cause == f"git conflict marker '{marker}' in the document"


def test_conflict_around_whole_documents():
    """Both sides are whole, but to take both would count twice."""
    error = _refusal(f"<<<<<<< HEAD\n{GOOD}\n=======\n{GOOD}\n>>>>>>> other\n")
    assert (error.line, error.column) == (1, 1)
    assert "git conflict marker" in error.cause


def test_document_cut_off_before_another():
    """A killed run, then a whole one appended: refused, though the second is good."""
    for end in ('"groupid"', '"groupid" : 0', '"jobname" : "on', '"jobs" : ['):
        cut = GOOD[: GOOD.index(end) + len(end)]
        error = _refusal(f"{cut}\n{GOOD}")
        assert "line 1" in error.cause or error.line == 1 or "begins inside" in error.cause


def test_beginning_is_missing():
    """The tail of a document before a whole one is not skipped as noise."""
    tail = GOOD[GOOD.index('"groupid"') :]
    error = _refusal(f"{tail}\n{GOOD}")
    assert (error.line, error.column) == (1, 1)
    assert "whose beginning is missing" in error.cause


def test_text_inside_a_document():
    """What stderr printed into the document: the error shows it."""
    text = GOOD.replace('"jobs" :', 'fio: pid=1, got signal=11\n  "jobs" :')
    error = _refusal(text)
    assert "found 'fio: pid=1, got signal=11'" in error.cause
    assert error.line == text[: text.index("fio: pid")].count("\n") + 1


@pytest.mark.parametrize(
    "text", ['{"fio version": "fio-3.33"}', '{"fio version": "x", "jobs": {}}']
)
def test_no_jobs(text: str):
    """An object that is called fio's but has no list of jobs."""
    assert 'without a list "jobs" or "client_stats"' in _refusal(text).cause


@pytest.mark.parametrize(
    "job", ["7", "null", "{}", '{"jobname": 1}', '{"jobname": "a", "read": 1}']
)
def test_job_that_is_none(job: str):
    """A member of jobs that is not a job names itself by its place."""
    error = _refusal(f'{{"fio version": "fio-3.33", "jobs": [{job}]}}')
    assert str(error).startswith("f: document 0, jobs[0]: ")


def test_too_deep_and_too_long():
    """What Python's own limits refuse is an error like others."""
    deep = '{"fio version": "x", "jobs": ' + "[" * 100_000
    assert _refusal(deep).line == 1
    long = '{"fio version": "x", "jobs": [' + "1" * 5000 + "]}"
    assert _refusal(long).line == 1


@pytest.mark.parametrize(
    ("compress", "program"),
    [(gzip.compress, "gzip"), (lzma.compress, "xz"), (bz2.compress, "bzip2")],
)
def test_compressed(compress: Callable[[bytes], bytes], program: str):
    """The error says how to decompress."""
    with pytest.raises(FioOutputError, match=rf"{program} -dc"):
        output_from_bytes(compress(GOOD.encode()), file="f.json.x")


def test_broken_utf_16():
    """An odd number of bytes: cut off."""
    with pytest.raises(FioOutputError, match="UTF-16"):
        output_from_bytes(GOOD.encode("utf-16")[:-1], file="f")


def test_unreadable(tmp_path: Path):
    """A missing file and a folder are errors of the reader, with the path."""
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(FioOutputError) as caught:
            output_from_file(path)
        assert str(caught.value).startswith(f"{path}: cannot be read: ")
