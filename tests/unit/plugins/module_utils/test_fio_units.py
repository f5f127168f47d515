# SPDX-License-Identifier: GPL-3.0-or-later
"""The same run, written with the keys and units of another version, gives the same rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import rows_from_text

KIB = 1024
NS_PER_US = 1000


@st.composite
def _runs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a run in units that every version can write exactly: KiB, us, ms."""
    count = st.integers(1, 10**9)
    us = st.integers(1, 10**7)
    kinds = draw(st.sets(st.sampled_from(["slat", "clat", "lat"])))
    return {
        "io_kib": draw(count),
        "bw_kib_per_s": draw(count),
        "iops": draw(count),
        "runtime_ms": draw(count),
        "total_ios": draw(count),
        "latency_us": {
            kind: {name: draw(us) for name in ("min", "max", "mean", "stddev")} for kind in kinds
        },
        "percentile_us": {p: draw(us) for p in draw(st.sets(st.sampled_from([50.0, 99.0, 99.9])))},
    }


def _document(
    run: dict[str, Any],
    *,
    version: str,
    bw_bytes: bool,
    is_ns: bool,
    key_format: str,
    filler: dict[str, int],
) -> str:
    """Write the run as a version of fio does."""
    part = {"iops": run["iops"], "runtime": run["runtime_ms"], "total_ios": run["total_ios"]}
    part["bw"] = run["bw_kib_per_s"]
    if bw_bytes:
        part["bw_bytes"] = run["bw_kib_per_s"] * KIB
    part["io_bytes"] = run["io_kib"]
    if is_ns:
        part["io_kbytes"] = run["io_kib"]
        part["io_bytes"] = run["io_kib"] * KIB
    scale = NS_PER_US if is_ns else 1
    for kind in ("slat", "clat", "lat"):
        values = run["latency_us"].get(kind, dict.fromkeys(("min", "max", "mean", "stddev"), 0))
        out = {name: value * scale for name, value in values.items()}
        if kind == "clat" and kind in run["latency_us"]:
            out["percentile"] = {
                key_format % p: value * scale for p, value in run["percentile_us"].items()
            } | filler
        part[kind + ("_ns" if is_ns else "")] = out
    job = {"jobname": "a", "groupid": 0, "error": 0, "write": part}
    return json.dumps({"fio version": version, "jobs": [job]})


AGES = {
    "2.1": {"bw_bytes": False, "is_ns": False, "key_format": "%f", "filler": {"0.00": 0}},
    "2.0": {"bw_bytes": False, "is_ns": False, "key_format": "%2.2f", "filler": {"0.00": 0}},
    "2.99": {"bw_bytes": False, "is_ns": True, "key_format": "%f", "filler": {"0.00": 0}},
    "3.42": {"bw_bytes": True, "is_ns": True, "key_format": "%f", "filler": {}},
    "odd": {"bw_bytes": True, "is_ns": True, "key_format": "%.9f", "filler": {}},
}


@settings(deadline=None)
@given(run=_runs())
def test_rows_do_not_depend_on_the_version(run: dict[str, Any]):
    """Keys tell the units; the version string, equal here, is not looked at."""
    rows = [
        [row.as_dict() for row in rows_from_text(_document(run, version="fio-git", **age))]
        for age in AGES.values()
    ]
    assert rows[1:] == rows[:-1]
    (row,) = rows[0]
    assert row["io_bytes"] == run["io_kib"] * KIB
    assert row["bw_bytes_per_s"] == run["bw_kib_per_s"] * KIB
    clat = run["latency_us"].get("clat")
    assert row["clat_mean_ns"] == (clat["mean"] * NS_PER_US if clat else None)
    p99 = run["percentile_us"].get(99.0) if clat else None
    assert row["clat_p99_ns"] == (None if p99 is None else p99 * NS_PER_US)


@pytest.mark.parametrize("version", ["fio-2.0.10", "fio-2.18-59-g618e", "fio-3.42", "", "x"])
def test_version_is_not_looked_at(version: str):
    """A build between two releases is read by its keys."""
    part = {"io_bytes": 3, "io_kbytes": 0, "bw": 2, "iops": 1.0, "runtime": 1, "total_ios": 1}
    job = {"jobname": "a", "groupid": 0, "error": 0, "read": part}
    (row,) = rows_from_text(json.dumps({"fio version": version, "jobs": [job]}))
    assert (row.io_bytes, row.bw_bytes_per_s, row.fio_version) == (3, 2 * KIB, version)


def test_less_than_a_kib_in_an_old_version():
    """512 bytes are 0 KiB there, but they were read: the rate says so."""
    part = {"io_bytes": 0, "bw": 0, "iops": 1, "runtime": 1}
    job = {"jobname": "a", "groupid": 0, "error": 0, "read": part, "write": {**part, "iops": 0}}
    (row,) = rows_from_text(json.dumps({"fio version": "fio-2.0.10", "jobs": [job]}))
    assert (row.direction, row.io_bytes, row.total_ios) == ("read", 0, None)
