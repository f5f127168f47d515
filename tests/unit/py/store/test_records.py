# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: what a manifest must say, and what becomes a row."""

from __future__ import annotations

from pathlib import Path

import pytest
import run_archives

from nvmelab.store.point_row import failed_point
from nvmelab.store.point_row import point_row as make_row
from nvmelab.store.records import COLUMNS, MEANINGS, SCHEMA_VERSION, RecordError, check_manifest

STORE_DOC = Path(__file__).parents[4] / "docs/store.md"


def test_newer_schema_names_writer_and_remedy() -> None:
    """A record of the future is refused: who wrote it, what is read here, what to do."""
    manifest = run_archives.manifest(schema_version=SCHEMA_VERSION + 1, nvmelab_version="9.1")
    with pytest.raises(RecordError) as caught:
        check_manifest(manifest, where="here/manifest.json")
    message = str(caught.value)
    versions = (f"schema {SCHEMA_VERSION + 1}", f"up to {SCHEMA_VERSION}")
    for part in ("here/manifest.json", "nvmelab 9.1", *versions, "upgrade"):
        assert part in message


@pytest.mark.parametrize("version", [None, "1", 0, -1, True, 1.0])
def test_schema_version_must_be_a_number(version: object) -> None:
    """Whatever is no positive whole number is no schema version."""
    with pytest.raises(RecordError, match="schema_version is"):
        check_manifest(run_archives.manifest(schema_version=version), where="x")


def test_older_record_is_migrated_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version has a step to the next, taken in order."""
    monkeypatch.setattr("nvmelab.store.records.SCHEMA_VERSION", 3)
    steps = {1: lambda m: {**m, "a": 1}, 2: lambda m: {**m, "b": m["a"] + 1}}
    monkeypatch.setattr("nvmelab.store.records.MIGRATIONS", steps)
    manifest = check_manifest(run_archives.manifest(), where="x")
    assert (manifest["a"], manifest["b"]) == (1, 2)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ([], "is a list"),
        (run_archives.manifest(run_id=7), "run_id=7"),
        (run_archives.manifest(host=""), "host=''"),
        (run_archives.manifest(state=None), "state=None"),
    ],
)
def test_wrong_manifest_names_key_and_value(manifest: object, expected: str) -> None:
    """What a manifest cannot do without is named, with what was found."""
    with pytest.raises(RecordError, match=expected):
        check_manifest(manifest, where="x")


def test_row_takes_fio_options_from_the_point_not_from_fio() -> None:
    """What fio lists of its options is text or absent; the point knows what was given to it."""
    measured = {"direction": "read", "iodepth": "99", "iops": 5.0, "unknown": 1}
    row = make_row(run_archives.manifest(), run_archives.point(1), measured)
    assert (row.iodepth, row.numjobs, row.bs, row.iops) == (4, 1, "4k", 5.0)
    assert row.clat_p99_ns is None
    assert row.other_cpu_percent is None
    assert row.verdict_reasons == ("tcg: no usable KVM",)


def test_what_moved_has_columns_and_gaps() -> None:
    """What a host can measure arrives under its unit; what it cannot stays null, never 0."""
    movement = {
        "frequency_khz": {"min": 1_200_000, "median": 2_400_000, "max": 3_600_000},
        "throttle_count": 0,
        "cpu_pressure_percent": 1.5,
        "temperature_c": None,
    }
    row = make_row(
        run_archives.manifest(), run_archives.point(1, movement=movement), {"direction": "read"}
    )
    assert (row.frequency_min_khz, row.frequency_max_khz) == (1_200_000, 3_600_000)
    assert (row.frequency_median_khz, row.throttle_count) == (2_400_000, 0)
    assert (row.cpu_pressure_percent, row.temperature_after_c) == (1.5, None)
    old = make_row(run_archives.manifest(), run_archives.point(1), {"direction": "read"})
    assert (old.frequency_min_khz, old.throttle_count, old.temperature_before_c) == (None,) * 3


def test_a_failed_point_says_what_it_was_to_measure() -> None:
    """Its place among the results can be found: stack, workload, depth, repetition."""
    failed = failed_point(run_archives.point(2, state="failed"), "fio ended with exit code 1")
    assert failed == {
        "id": "0002", "reason": "fio ended with exit code 1", "stack": "qemu-nvme",
        "environment": "guest-1", "workload": "randrw-4k", "repetition": 2, "runs_on": "guest",
        "rw": "randrw", "bs": "4k", "iodepth": 4, "numjobs": 1,
    }  # fmt: skip


def test_columns_carry_types_and_meanings() -> None:
    """Every column has a type and says what it is; latencies say their unit."""
    assert list(COLUMNS) == list(MEANINGS)
    assert all(MEANINGS.values())
    assert all(name.endswith("_ns") for name in COLUMNS if "lat_" in name and "count" not in name)


def test_documentation_lists_the_columns() -> None:
    """docs/store.md describes exactly the columns that there are, in their order."""
    lines = STORE_DOC.read_text("utf-8").splitlines()
    table = [line.split("|")[1:4] for line in lines if line.startswith("| `")]
    found = {name.strip(" `"): (sql.strip(), text.strip()) for name, sql, text in table}
    expected = {name: (sql, MEANINGS[name]) for name, sql in COLUMNS.items()}
    assert {name: found.get(name) for name in expected} == expected
    assert [name for name in found if name in expected] == list(expected)
