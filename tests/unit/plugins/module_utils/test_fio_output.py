# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of real files, against values read off the files by hand."""

from __future__ import annotations

import json

import pytest
from fio_test_files import fixture, fixture_text

from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import (
    ROW_KEYS,
    FailedJob,
    FioOutputError,
    output_from_file,
    rows_from_file,
    rows_from_text,
)

ISSUE_KEYS = (
    *("file", "document", "is_last_document", "fio_version", "job_name", "group_id", "hostname"),
    *("direction", "is_aggregate", "iops", "bw_bytes_per_s", "io_bytes", "total_ios"),
    *("runtime_ms", "slat_mean_ns", "clat_mean_ns", "clat_stddev_ns", "clat_p50_ns"),
    *("clat_p99_ns", "clat_p99_9_ns", "lat_mean_ns", "lat_p99_ns", "error"),
)


def test_keys_are_those_promised():
    """The keys of the issue come first, in its order, and a row is JSON scalars only."""
    row = rows_from_file(fixture("gen-v3.42-randrw-2jobs.json"))[0].as_dict()
    assert tuple(row)[: len(ISSUE_KEYS)] == ISSUE_KEYS
    assert tuple(row) == ROW_KEYS
    assert json.loads(json.dumps(row)) == row


def test_units_of_2_0_10():
    """The oldest JSON: us, KiB, KiB/s, no total_ios, percentile keys of two digits."""
    path = fixture("gen-v2.0.10-randrw-2jobs.json")
    row = rows_from_file(path)[0].as_dict()
    floats = {key: row.pop(key) for key in ("clat_mean_ns", "clat_stddev_ns", "lat_mean_ns")}
    assert floats == pytest.approx(
        {"clat_mean_ns": 900.0, "clat_stddev_ns": 100_930.0, "lat_mean_ns": 1100.0}
    )
    assert row == {
        "file": path,
        "document": 0,
        "is_last_document": True,
        "fio_version": "fio-2.0.10",
        "job_name": "mix",
        "group_id": 0,
        "hostname": None,
        "direction": "read",
        "is_aggregate": False,
        "iops": 458427.0,
        "bw_bytes_per_s": 1833709 * 1024,
        "io_bytes": 1853880 * 1024,
        "total_ios": None,
        "runtime_ms": 1011,
        "slat_mean_ns": None,  # printed as zeros: the engine has none
        "clat_p50_ns": 0,  # measured, below the resolution of 1 us
        "clat_p99_ns": 1000,
        "clat_p99_9_ns": 1000,
        "lat_p99_ns": None,
        "error": 0,
        "job_index": 0,
        "rw": None,
        "bs": None,
        "iodepth": None,
        "numjobs": None,
        "ioengine": None,
    }


def test_units_of_3_42():
    """The newest JSON: ns, bytes, bytes/s."""
    row = rows_from_file(fixture("gen-v3.42-randrw-2jobs.json"))[0].as_dict()
    raw = json.loads(fixture_text("gen-v3.42-randrw-2jobs.json"))["jobs"][0]["read"]
    assert row["fio_version"] == "fio-3.42"
    assert (row["io_bytes"], row["bw_bytes_per_s"]) == (raw["io_bytes"], raw["bw_bytes"])
    assert (row["total_ios"], row["runtime_ms"]) == (raw["total_ios"], raw["runtime"])
    assert row["clat_mean_ns"] == raw["clat_ns"]["mean"]
    assert row["clat_stddev_ns"] == raw["clat_ns"]["stddev"]
    assert row["clat_p99_9_ns"] == raw["clat_ns"]["percentile"]["99.900000"]
    assert row["lat_mean_ns"] == raw["lat_ns"]["mean"]


def test_units_between_2_99_and_3_1():
    """Already ns and bytes, but bw in KiB/s only."""
    name = "gen-v3.1-randrw-2jobs.json"
    raw = json.loads(fixture_text(name))["jobs"][0]["read"]
    row = rows_from_file(fixture(name))[0]
    assert "bw_bytes" not in raw
    assert row.bw_bytes_per_s == raw["bw"] * 1024
    assert row.io_bytes == raw["io_bytes"]


def test_options_of_the_job_win():
    """rw, bs … come from the job's options, else from the global ones, numbers as numbers."""
    rows = rows_from_file(fixture("gen-v3.42-randrw-2jobs.json"))
    assert {(r.rw, r.bs, r.iodepth, r.numjobs, r.ioengine) for r in rows} == {
        ("randrw", "4k", 8, 2, "null")
    }
    document = json.loads(fixture_text("gen-v3.42-randrw-2jobs.json"))
    document["global options"].update(bs="1m", numjobs="9")
    row = rows_from_text(json.dumps(document))[0]
    assert (row.bs, row.numjobs) == ("4k", 2)


def test_options_servers_do_not_agree_on():
    """From 3.39 a client lists the global options of each server: what differs is not known."""
    document = json.loads(fixture_text("gen-client-2hosts-3.33.json")[1:].split("\n\n", 1)[1])
    document["global options"] = [{"ioengine": "null", "bs": "4k"}, {"ioengine": "sync"}]
    document["client_stats"][0]["job options"] = {}
    row = rows_from_text(json.dumps(document))[0]
    assert (row.ioengine, row.bs) == (None, None)
    document["global options"][1]["ioengine"] = "null"
    assert rows_from_text(json.dumps(document))[0].ioengine == "null"


def test_direction_without_io_has_no_row():
    """Two jobs, randtrim and trimwrite: a trim row, then a write and a trim row."""
    rows = rows_from_file(fixture("gen-trim-3.33.json"))
    assert [(r.job_index, r.direction) for r in rows] == [(0, "trim"), (1, "write"), (1, "trim")]
    assert rows_from_file(fixture("gen-v3.42-zero-io.json")) == []


def test_sync_row():
    """An fsync is a direction of its own, with a total latency and a count, but no bandwidth."""
    row = rows_from_file(fixture("gen-v3.12-write-file-fsync.json"))[1]
    raw = json.loads(fixture_text("gen-v3.12-write-file-fsync.json"))["jobs"][0]["sync"]
    assert row.direction == "sync"
    assert row.total_ios == raw["total_ios"] > 0
    assert row.lat_mean_ns == raw["lat_ns"]["mean"]
    assert row.lat_p99_ns == raw["lat_ns"]["percentile"]["99.000000"]
    unmeasured = (row.iops, row.bw_bytes_per_s, row.io_bytes, row.runtime_ms, row.clat_mean_ns)
    assert unmeasured == (None,) * 5


def test_sync_without_fsync_has_no_row():
    """For fdatasync fio counts nothing in total_ios: the section is there, but says no I/O."""
    rows = rows_from_file(fixture("gen-sync-fdatasync-3.33.jsonplus.json"))
    assert [row.direction for row in rows] == ["write"]


def test_latency_not_measured_is_none():
    """gtod_reduce prints zeros, which are no latencies."""
    for row in rows_from_file(fixture("gen-no-lat-3.33.json")):
        values = row.as_dict()
        assert row.iops > 0
        assert {v for k, v in values.items() if "lat_" in k} == {None}
        assert row.latency("clat") is None
        assert (row.bins, row.percentiles) == ({}, {})


def test_no_percentiles_but_means():
    """clat_percentiles=0: the mean is measured, percentiles are not."""
    row = rows_from_file(fixture("gen-no-pctl-3.33.json"))[0]
    assert row.clat_mean_ns == pytest.approx(356.446485)
    assert (row.clat_p50_ns, row.clat_p99_ns, row.clat_p99_9_ns, row.lat_p99_ns) == (None,) * 4


def test_percentiles_of_the_total_latency():
    """lat_percentiles=1 moves them: lat has a p99, clat none."""
    row = rows_from_file(fixture("gen-lat-only-pctl-3.33.json"))[0]
    assert row.clat_p99_ns is None
    assert row.lat_p99_ns > 0
    both = rows_from_file(fixture("gen-lat-all-pctl-3.33.jsonplus.json"))[0]
    assert both.lat_p99_ns >= both.clat_p99_ns > 0


def test_one_io():
    """One I/O: every percentile is it, its deviation is a true 0."""
    row = rows_from_file(fixture("gen-one-io-3.33.json"))[0]
    assert (row.total_ios, row.clat_mean_ns, row.clat_stddev_ns) == (1, 5518.0, 0.0)
    assert row.clat_p50_ns == row.clat_p99_ns


def test_percentile_that_is_not_in_the_list():
    """percentile_list without 50: computed from the bins, None without bins."""
    document = json.loads(fixture_text("gen-v3.33-randrw-group.jsonplus.json"))
    clat = document["jobs"][0]["read"]["clat_ns"]
    wanted = clat["percentile"].pop("50.000000")
    assert rows_from_text(json.dumps(document))[0].clat_p50_ns == wanted
    del clat["bins"]
    assert rows_from_text(json.dumps(document))[0].clat_p50_ns is None


def test_filler_keys_are_no_percentiles():
    """To 3.3 fio fills a short list with "0.00" : 0, many times."""
    row = rows_from_file(fixture("gen-pctl-custom-3.1.json"))[0]
    assert set(row.percentiles) == {50.0, 99.0, 99.9}
    assert row.clat_p50_ns == row.percentiles[50.0]


def test_status_documents_are_numbered():
    """Three cumulative documents: numbered from 0, the last one marked."""
    output = output_from_file(fixture("gen-sigkill-3.33.json"))
    assert output.document_count == 3
    assert [(r.document, r.is_last_document) for r in output.rows] == [
        (number, number == 2) for number in range(3) for _ in ("read", "write")
    ]
    reads = [row.total_ios for row in output.rows if row.direction == "read"]
    assert reads == sorted(reads)


@pytest.mark.parametrize("name", ["gen-client-2hosts-2.1.10.json", "gen-client-2hosts-3.33.json"])
def test_all_clients_is_the_sum(name: str):
    """The last job is marked, and counts what the other rows count."""
    rows = rows_from_file(fixture(name))
    for direction in ("read", "write"):
        mine = [r for r in rows if r.direction == direction]
        assert [r.is_aggregate for r in mine] == [False] * (len(mine) - 1) + [True]
        assert mine[-1].job_name == "All clients"
        assert mine[-1].io_bytes == sum(r.io_bytes for r in mine[:-1])
    assert {row.hostname for row in rows} == {"127.0.0.1"}


def test_a_job_that_is_called_all_clients():
    """The name alone does not make a sum: not without a client, not with options of its own."""
    local = json.loads(fixture_text("gen-v3.42-randrw-2jobs.json"))
    local["jobs"][0]["jobname"] = "All clients"
    assert not any(row.is_aggregate for row in rows_from_text(json.dumps(local)))
    client = {"fio version": "fio-3.42", "client_stats": local["jobs"]}
    assert "job options" in local["jobs"][0]
    assert not any(row.is_aggregate for row in rows_from_text(json.dumps(client)))


def test_mixed_alone_and_beside():
    """unified_rw_reporting=mixed gives one row that counts, =both one that is a sum."""
    (alone,) = rows_from_file(fixture("gen-unified-mixed-3.33.json"))
    assert (alone.direction, alone.is_aggregate) == ("mixed", False)
    read, write, mixed = rows_from_file(fixture("gen-unified-both-3.33.jsonplus.json"))
    assert [r.is_aggregate for r in (read, write, mixed)] == [False, False, True]
    assert mixed.total_ios == read.total_ios + write.total_ios


def test_error_is_kept_beside_the_numbers():
    """ENOSPC after some writes: the row is there, and says 28."""
    (row,) = rows_from_file(fixture("gen-enospc-3.33.json"))
    assert (row.error, row.direction) == (28, "write")


def test_job_that_failed_without_io_is_named():
    """It has no row, so it is listed; its neighbour has one."""
    output = output_from_file(fixture("gen-missing-among-ok-3.33.json"))
    assert output.failed_jobs == (FailedJob("bad", 0, None, 2),)
    assert str(output.failed_jobs[0]) == (
        "job 'bad' did no I/O: error 2 (No such file or directory)"
    )
    assert [row.job_name for row in output.rows] == ["good"]
    client = output_from_file(fixture("gen-client-err-3.33.json"))
    assert client.failed_jobs == (FailedJob("bad", 0, "127.0.0.1", 2),)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"iops": "many"}, "\"iops\" is 'many', wanted a number"),
        ({"runtime": True}, '"runtime" is True, wanted a number'),
        ({"clat_ns": [1]}, '"clat" is [1], wanted an object'),
        ({"clat_ns": {"max": 1}}, 'no "mean" among max'),
        ({"io_bytes": 1e999}, "NaN"),
    ],
)
def test_value_that_is_no_number(change: dict[str, object], cause: str):
    """A value of the wrong type refuses the file, naming document, job and key."""
    document = json.loads(fixture_text("gen-v3.42-randrw-2jobs.json"))
    document["jobs"][1]["write"].update(change)
    text = json.dumps(document)
    if cause == "NaN":
        text, cause = text.replace("Infinity", "1e999"), '"io_bytes" is inf, wanted a number'
    with pytest.raises(FioOutputError) as caught:
        rows_from_text(text, file="f.json")
    assert str(caught.value) == f"f.json: document 0, jobs[1]: {cause}"
