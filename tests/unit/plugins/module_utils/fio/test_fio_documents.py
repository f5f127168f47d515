# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents are found whatever is around them, and whole or not at all."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from fio_test_files import fixture, fixture_text
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import (
    FioOutputError,
    output_from_bytes,
    parse_documents,
    rows_from_file,
    rows_from_text,
)

DOCUMENTS = [
    json.dumps(d, indent=2) for d in parse_documents(fixture_text("gen-sigkill-3.33.json"))
]
ROWS = [[row.as_dict() for row in rows_from_text(text)] for text in DOCUMENTS]
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_LINES = st.sampled_from(
    [
        "mix: (g=0): rw=randrw, bs=(R) 4096B-4096B, ioengine=null, iodepth=8",
        "{open: (g=0): rw=read",
        '{"fio":1}: (g=0): rw=read',
        '{"jobs": [1, 2], "nested": {"a": "}"}}',
        "Jobs: 1 (f=1)\rJobs: 1 (f=1): [m(1)][75.0%][eta 00m:01s]\r",
        "3;fio-3.33;mix;0;0;3982696;3951087;987771;1008",
        "<vm> Starting 3 processes",
        "fio: pid=0, err=22/file:filesetup.c:1155, func=total_file_size",
        '"',
        "}}]]",
        "\\",
        "\x00\x1b[31m",
    ]
)
_NOISE = st.lists(st.one_of(_LINES, st.text(max_size=30)), max_size=5).map("\n".join)


def _as_read(count: int) -> list[dict[str, Any]]:
    """Return the rows of the first documents, as if they were a file."""
    return [
        {**row, "document": number, "is_last_document": number == count - 1}
        for number in range(count)
        for row in ROWS[number]
    ]


@QUICK
@given(noise=st.lists(_NOISE, min_size=1, max_size=4))
def test_text_around_changes_nothing(noise: Any):
    """Noise before, between and after documents never changes their rows."""
    # What looks like the first bytes of one more document is no noise.
    assume(not re.search(r'\{\s*("[a-z ]*"?)?\s*$', noise[-1].rstrip("\0 \t\r\n")))
    count = min(len(noise), len(DOCUMENTS))
    pieces = [piece for pair in zip(noise, DOCUMENTS[:count], strict=False) for piece in pair]
    text = "\n".join([*pieces, noise[-1]])
    assert [row.as_dict() for row in rows_from_text(text)] == _as_read(count)


@QUICK
@given(noise=st.binary(max_size=40))
def test_bytes_around_change_nothing(noise: Any):
    """Bytes that are not UTF-8 are noise too."""
    assume(not noise.rstrip(b"\0 \t\r\n").endswith((b"{", b'"')))
    assume(not noise.startswith((b"\xff\xfe", b"\xfe\xff")))  # UTF-16
    data = noise + b"\n" + DOCUMENTS[0].encode() + b"\n" + noise
    rows = output_from_bytes(data, file="<text>").rows
    assert [row.as_dict() for row in rows] == _as_read(1)


TEXT = "\n".join(DOCUMENTS) + "\n"
ENDS = [sum(len(d) + 1 for d in DOCUMENTS[: n + 1]) - 1 for n in range(len(DOCUMENTS))]
BORDERS = [end + offset for end in ENDS for offset in range(-30, 31) if end + offset <= len(TEXT)]


def _check_cut(cut: int) -> None:
    whole = sum(end <= cut for end in ENDS)
    rest = TEXT[ENDS[whole - 1] : cut] if whole else TEXT[:cut]
    if whole and not rest.strip():
        assert [row.as_dict() for row in rows_from_text(TEXT[:cut])] == _as_read(whole)
    else:
        with pytest.raises(FioOutputError):
            rows_from_text(TEXT[:cut])


@QUICK
@given(cut=st.integers(0, len(TEXT)))
def test_cut_anywhere(cut: int):
    """A cut file is whole documents and nothing else, or an error: never a partial result."""
    _check_cut(cut)


@pytest.mark.parametrize("cut", BORDERS)
def test_cut_near_a_border(cut: int):
    """The same for each byte around the borders of documents."""
    _check_cut(cut)


@pytest.mark.parametrize("end", [1, 10, 300, 5000, 6000])
def test_place_of_a_cut(end: int):
    """The error names the last line that there is, and the document's first."""
    text = "noise\n" + DOCUMENTS[0][:end]
    with pytest.raises(FioOutputError) as caught:
        rows_from_text(text, file="f.json")
    assert caught.value.line in (2, text.rstrip().count("\n") + 1)
    assert str(caught.value).startswith(f"f.json: line {caught.value.line}, column ")


def test_keys_in_another_order():
    """A document whose keys were sorted since (jq -S) is found by its key all the same."""
    document = json.loads(DOCUMENTS[0])
    document["disk_util"] = [{"name": "sda"}]
    text = json.dumps(document, sort_keys=True)
    assert [row.as_dict() for row in rows_from_text("{} {x\n" + text + text)][:2] == [
        {**row, "is_last_document": False} for row in ROWS[0]
    ]
    with pytest.raises(FioOutputError, match="line 1"):
        rows_from_text(text[:-10])


def test_documents_in_a_wrapper():
    """An array or object around documents (jq -s) is text around them."""
    text = '{\n"jobname": "a",\n"runs": [' + ",".join(DOCUMENTS) + "]}"
    assert [row.as_dict() for row in rows_from_text(text)] == _as_read(3)


def test_minified_and_crlf():
    """Layout does not matter."""
    minified = json.dumps(json.loads(DOCUMENTS[0]), separators=(",", ":"))
    for text in (minified, DOCUMENTS[0].replace("\n", "\r\n")):
        assert [row.as_dict() for row in rows_from_text(text)] == _as_read(1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding: str):
    """UTF-8 with and without byte-order mark, and UTF-16 as PowerShell writes it."""
    text = DOCUMENTS[0].replace('"killed"', '"naïve ☃ \N{GRINNING FACE}"')
    rows = output_from_bytes(text.encode(encoding), file="f").rows
    assert {row.job_name for row in rows} == {"naïve ☃ \N{GRINNING FACE}"}


def test_text_keeps_its_names():
    """Decoded text with any characters is read as it is."""
    text = DOCUMENTS[0].replace('"killed"', '"naïve ☃"')
    assert {row.job_name for row in rows_from_text(text)} == {"naïve ☃"}


def test_names_of_jobs():
    """Raw control characters and Latin-1 bytes in a name, as real fio prints them."""
    (row,) = rows_from_file(fixture("gen-name-tab-newline-3.33.json"))
    assert row.job_name == "tab\there\nnewline"
    (row,) = rows_from_file(fixture("gen-name-latin1-3.33.json"))
    assert row.job_name == "café"
    names = [row.job_name for row in rows_from_file(fixture("gen-names-odd-3.33.json"))]
    assert names == [
        "naïve “job” ☃",
        "with space, comma; semi:colon",
        "q\"uo'te",
        "back\\slash",
    ]


def test_lone_surrogate_in_a_name():
    r"""A \ud800 escape, which no file or terminal takes, becomes a replacement character."""
    text = DOCUMENTS[0].replace('"killed"', '"a\\ud800b"')
    name = rows_from_text(text)[0].job_name
    assert name == "a\N{REPLACEMENT CHARACTER}b"


def test_nul_tail():
    """NUL bytes after the last document (a crash of the host) are noise, inside they are not."""
    assert rows_from_text(DOCUMENTS[0] + "\n" + "\0" * 4096)
    with pytest.raises(FioOutputError, match="NUL bytes instead of the rest"):
        rows_from_text(DOCUMENTS[0][: DOCUMENTS[0].index('"error"')] + "\0" * 4096)


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(), inner)),
    max_leaves=4,
)


@QUICK
@given(data=st.data(), value=_VALUES)
def test_any_value_anywhere(data: st.DataObject, value: object):
    """With a value replaced by any other, the file is read or refused; nothing else happens."""
    document = json.loads(DOCUMENTS[0])
    part = data.draw(st.sampled_from(["document", "job", "read", "clat_ns", "percentile"]))
    holder = document
    for step in ("document", "job", "read", "clat_ns", "percentile"):
        if step != "document":
            holder = holder["jobs"][0] if step == "job" else holder[step]
        if step == part:
            break
    holder[data.draw(st.sampled_from(sorted(holder)))] = value
    with suppress(FioOutputError):
        rows = [row.as_dict() for row in rows_from_text(json.dumps(document))]
        json.dumps(rows, allow_nan=False)
