# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file of a corpus: sound rows, or the error that its manifest leads to expect.

The corpus is the folder NVMELAB_FIO_CORPUS, or fio-corpus in the folder "shared" beside this
checkout, where it holds hundreds of files; without it the fixtures, of the same build, serve.
"""

from __future__ import annotations

import csv
import lzma
import re
from functools import lru_cache

import pytest
from fio_test_files import CORPUS, FIXTURES

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.histogram import (
    percentiles_from_bins,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import (
    FioOutput,
    FioOutputError,
    FioRow,
    output_from_bytes,
)

FOLDER = CORPUS if (CORPUS / "MANIFEST.tsv").exists() else FIXTURES


def _entries() -> list[dict[str, str]]:
    with (FOLDER / "MANIFEST.tsv").open() as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


# What in the manifest's format or remark says that the file is no output in JSON, or broken.
_NO_JSON = ("log", "terse", "terse client", "normal", "normal client", "error", "hist")
_BROKEN = ("truncated", "conflict markers", "not fio", "garbage", "empty")
BROKEN_BY_HAND = ("syn-nan.json",)
# Figures that their authors changed, and a job that did one I/O in 20 s.
UNSOUND = ("ext-microsoft_VirtualClient-682b165f", "gen-steady-nan-slope")


def _is_bad(entry: dict[str, str]) -> bool:
    remark = f"{entry['format']} {entry['special']}"
    return (
        entry["format"] in _NO_JSON
        or entry["file"] in BROKEN_BY_HAND
        or any(word in remark for word in _BROKEN)
    )


ENTRIES = _entries()
GOOD = [entry["file"] for entry in ENTRIES if not _is_bad(entry)]
BAD = [entry["file"] for entry in ENTRIES if _is_bad(entry)]


def test_manifest_is_complete() -> None:
    """Each file has a line, so none is left out of what follows."""
    there = (path.name for path in FOLDER.iterdir())
    assert sorted(GOOD + BAD) == sorted(n for n in there if n.startswith(("ext-", "gen-", "syn-")))
    assert len(GOOD) > len(BAD) > 0


def _data(name: str) -> bytes:
    data = (FOLDER / name).read_bytes()
    return lzma.decompress(data) if name.endswith(".xz") else data


@lru_cache(maxsize=8)
def _output(name: str) -> FioOutput:
    return output_from_bytes(_data(name), file=name)


@pytest.mark.parametrize("name", BAD)
def test_bad_file(name: str):
    """One error, on one line, with file, place and cause."""
    with pytest.raises(FioOutputError) as caught:
        _output(name)
    assert re.match(rf"{re.escape(name)}: line \d+, column \d+: \S", str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", GOOD)
def test_rows_are_as_many_as_counts(name: str):
    """Found by another way: each count of I/Os above 0 in the text is a row."""
    data = _data(name)
    output = _output(name)
    assert output.document_count == len(re.findall(rb'"fio version"\s*:', data))
    if b'"total_ios"' in data:
        counts = [int(n) for n in re.findall(rb'"total_ios"\s*: (\d+)', data)]
        assert sorted(row.total_ios for row in output.rows) == sorted(n for n in counts if n)


@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith(UNSOUND)])
def test_identities(name: str):
    """Rates are counts over time, the total latency is not below the completion's."""
    for row in _output(name).rows:
        _check_rates(row)
        _check_latencies(row)


def _check_rates(row: FioRow) -> None:
    if row.direction == "sync" or row.runtime_ms <= 200:
        return
    seconds = row.runtime_ms / 1000
    assert row.bw_bytes_per_s == pytest.approx(row.io_bytes / seconds, rel=0.03)
    if row.total_ios is not None:
        assert row.iops == pytest.approx(row.total_ios / seconds, rel=0.03)


def _check_latencies(row: FioRow) -> None:
    if row.clat_mean_ns is not None and row.lat_mean_ns is not None:
        assert row.lat_mean_ns >= row.clat_mean_ns
    for kind in ("slat", "clat", "lat"):
        latency = row.latency(kind)
        if latency is None:
            continue
        assert latency.min_ns <= latency.mean_ns <= latency.max_ns
        # A percentile is the middle of its bucket, which may lie above the maximum.
        assert (latency.percentile_ns(99) or 0) <= latency.max_ns * 1.01
        bins = latency.bins_ns
        if bins:
            printed = latency.percentiles_ns
            assert percentiles_from_bins(bins, printed) == printed
            if row.direction != "sync":
                assert sum(bins.values()) == pytest.approx(row.total_ios, rel=0.01)
