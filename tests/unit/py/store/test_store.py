# SPDX-License-Identifier: GPL-3.0-or-later
"""The store: whole or not at all, twice changes nothing, nothing unsafe gets in."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import duckdb
import pytest
import run_archives
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvmelab.errors import BadInputError, NvmelabError
from nvmelab.store.archive import ArchiveError, sha256_of
from nvmelab.store.folder import Store, StoreError, UnknownRunError, whole_file
from nvmelab.store.records import COLUMNS, HISTOGRAM_COLUMNS, RecordError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


def _snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _nothing_stored(store: Store) -> bool:
    return store.run_ids() == [] and not list(store.path.rglob("*.parquet"))


def test_a_record_holds_what_fio_measured(store: Store, tmp_path: Path) -> None:
    """Rows equal fio's own figures; the buckets of a histogram add up to its I/Os."""
    added = store.add(run_archives.archive(tmp_path))
    assert (added.action, added.host, added.point_count) == ("added", "storage-a", 2)
    (run,) = store.load("latest")
    fio = json.loads(run_archives.FIO_OUTPUT.read_text())["jobs"][0]
    assert [(row.point_id, row.direction) for row in run.rows] == [
        ("0001", "read"), ("0001", "write"), ("0002", "read"), ("0002", "write")
    ]  # fmt: skip
    for row in run.rows:
        part = fio[row.direction]
        assert row.iops == part["iops"]
        assert row.total_ios == part["total_ios"]
        assert row.clat_p99_ns == part["clat_ns"]["percentile"]["99.000000"]
        assert row.clat_max_ns == part["clat_ns"]["max"]
        bins = run.histograms()[row.point_id, row.direction, "clat"]
        assert sum(count for _, count in bins) == part["clat_ns"]["N"]
        assert bins == sorted(bins)
    assert run.experiment == run_archives.EXPERIMENT
    assert run.manifest["record"]["fio_commands"]["0001"] == ["fio", "--name=nvmelab"]
    assert run.skips[0]["stack"] == "spdk-vfio-user"


def test_adding_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    """The second time not a byte and not a time stamp differs."""
    archive = run_archives.archive(tmp_path)
    store.add(archive)
    before = _snapshot(store.path)
    assert store.add(archive).action == "unchanged"
    assert _snapshot(store.path) == before
    assert (store.runs_path / run_archives.RUN_ID / "storage-a/raw.tar.gz").read_bytes() == (
        archive.read_bytes()
    )


def test_hosts_of_one_run_lie_side_by_side(store: Store, tmp_path: Path) -> None:
    """Each host adds its record; loading gives them by name."""
    for host in ("storage-b", "storage-a"):
        store.add(run_archives.archive(tmp_path, f"{host}.tar.gz", host=host))
    assert [run.host for run in store.load(run_archives.RUN_ID)] == ["storage-a", "storage-b"]
    assert store.run_ids() == [run_archives.RUN_ID]
    assert store.known() == {
        host: {run_archives.RUN_ID: "2026-11-21T09:01:00Z"} for host in ("storage-a", "storage-b")
    }


def test_failed_and_unreadable_points_have_no_row_but_are_told(
    store: Store, tmp_path: Path
) -> None:
    """A failed point has no row; one whose output is broken is dropped with the reader's reason."""
    files = run_archives.members(
        manifest_=run_archives.manifest(state="partial", points_done=2),
        points=[
            run_archives.point(1),
            run_archives.point(2, state="failed", reason="no such device"),
            run_archives.point(3),
        ],
    )
    files[f"{run_archives.RUN_ID}/points/0003.fio.json"] = b'{"fio version": "fio-3.33", "jobs": ['
    store.add(run_archives.pack(tmp_path / "run.tar.gz", files))
    (run,) = store.load("latest")
    assert {row.point_id for row in run.rows} == {"0001"}
    (dropped,) = run.manifest["record"]["dropped"]
    assert dropped["id"] == "0003"
    assert "points/0003.fio.json" in dropped["reason"]
    failed = run.manifest["record"]["failed"]
    assert [(one["id"], one["stack"], one["repetition"]) for one in failed] == [
        ("0002", "qemu-nvme", 2),
        ("0003", "qemu-nvme", 3),
    ]
    assert failed[0]["reason"] == "no such device"
    assert failed[1]["reason"] == dropped["reason"]


def test_jobs_of_one_point_share_its_histogram(store: Store, tmp_path: Path) -> None:
    """Without group_reporting fio has a row a job: their buckets are added up."""
    document = json.loads(run_archives.FIO_OUTPUT.read_text())
    document["jobs"] *= 2
    files = run_archives.members(points=[run_archives.point(1)])
    files[f"{run_archives.RUN_ID}/points/0001.fio.json"] = json.dumps(document).encode()
    store.add(run_archives.pack(tmp_path / "run.tar.gz", files))
    (run,) = store.load("latest")
    assert sorted(row.direction for row in run.rows) == ["read", "read", "write", "write"]
    total = sum(count for _, count in run.histograms()["0001", "read", "clat"])
    assert total == 2 * document["jobs"][0]["read"]["clat_ns"]["N"]


def test_run_without_points_is_kept(store: Store, tmp_path: Path) -> None:
    """A run that failed before its first point is a record too, with typed, empty files."""
    store.add(run_archives.archive(tmp_path, points=[], state="failed", points_done=0))
    (run,) = store.load("latest")
    assert run.state == "failed"
    assert run.rows == []
    assert run.histograms() == {}


def test_columns_have_the_types_that_are_documented(store: Store, tmp_path: Path) -> None:
    """Types are said, not guessed: also of a record whose every value is null."""
    store.add(run_archives.archive(tmp_path))
    store.add(run_archives.archive(tmp_path, "b.tar.gz", host="storage-b", points=[]))
    for host in ("storage-a", "storage-b"):
        for name, columns in (("rows", COLUMNS), ("histograms", HISTOGRAM_COLUMNS)):
            path = store.runs_path / run_archives.RUN_ID / host / f"{name}.parquet"
            relation = duckdb.read_parquet(str(path))
            types = (str(kind) for kind in relation.types)
            assert dict(zip(relation.columns, types, strict=True)) == columns


def test_duckdb_reads_the_store_in_place(store: Store, tmp_path: Path) -> None:
    """The glob of the documentation gives every row of every host."""
    for host in ("storage-a", "storage-b"):
        store.add(run_archives.archive(tmp_path, f"{host}.tar.gz", host=host))
    rows = duckdb.read_parquet(f"{store.path}/runs/*/*/rows.parquet", union_by_name=True)
    counted = rows.aggregate("host, count(*)").order("host").fetchall()
    assert counted == [("storage-a", 4), ("storage-b", 4)]


def test_interrupted_run_is_replaced_when_it_went_on(store: Store, tmp_path: Path) -> None:
    """A resumed run replaces its interrupted self; a complete one is never replaced."""
    early = run_archives.archive(
        tmp_path, "1.tar.gz", state="interrupted", points_done=1, points=[run_archives.point(1)],
        finished_at="2026-11-21T09:00:30Z",
    )  # fmt: skip
    assert store.add(early).action == "added"
    assert store.add(run_archives.archive(tmp_path, "2.tar.gz")).action == "replaced"
    assert len(store.load("latest")[0].rows) == 4
    later = run_archives.archive(tmp_path, "3.tar.gz", finished_at="2026-11-21T10:00:00Z")
    before = _snapshot(store.path)
    assert store.add(early).action == "unchanged"
    assert store.add(later).action == "unchanged"
    assert _snapshot(store.path) == before


def test_executor_that_died_is_an_interrupted_run(store: Store, tmp_path: Path) -> None:
    """A manifest that still says running was packed after its executor had died."""
    store.add(run_archives.archive(tmp_path, state="running", finished_at=None))
    (run,) = store.load("latest")
    assert run.state == "interrupted"
    assert "executor died" in run.manifest["reason"]


def test_wrong_checksum_is_refused(store: Store, tmp_path: Path) -> None:
    """What arrived differs from what was sent: nothing is stored, both sums are named."""
    archive = run_archives.archive(tmp_path)
    with pytest.raises(StoreError, match=f"sha256 is {sha256_of(archive)}, the lab host said 00"):
        store.add(archive, sha256="00")
    assert _nothing_stored(store)


def test_newer_record_is_refused_when_added_and_when_loaded(store: Store, tmp_path: Path) -> None:
    """Neither an archive nor a stored record of a newer schema is read."""
    with pytest.raises(RecordError, match="schema 3; this nvmelab reads up to 2: upgrade"):
        store.add(run_archives.archive(tmp_path, "new.tar.gz", schema_version=3))
    assert _nothing_stored(store)
    store.add(run_archives.archive(tmp_path))
    path = store.runs_path / run_archives.RUN_ID / "storage-a/manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 3', 1))
    with pytest.raises(RecordError, match="upgrade"):
        store.load("latest")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_truncated_archive_is_refused_whole(tmp_path: Path, data: st.DataObject) -> None:
    """Cut anywhere, an archive is refused by name, also where only its checksum is missing."""
    whole = run_archives.archive(tmp_path, "whole.tar.gz").read_bytes()
    length = len(whole) - data.draw(st.one_of(st.integers(1, len(whole)), st.integers(1, 40)))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole[:length])
    store = Store(tmp_path / f"store-{length}")
    with pytest.raises(ArchiveError, match=r"cut\.tar\.gz"):
        store.add(cut)
    assert _nothing_stored(store)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bit_is_refused_by_checksum(tmp_path: Path, data: st.DataObject) -> None:
    """One changed bit is noticed."""
    archive = run_archives.archive(tmp_path, "whole.tar.gz")
    digest = sha256_of(archive)
    damaged = bytearray(archive.read_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    archive.write_bytes(damaged)
    with pytest.raises(StoreError, match="collect again"):
        Store(tmp_path / "store").add(archive, sha256=digest)


def _evil(path: Path, change: Any) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in run_archives.members().items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        member = tarfile.TarInfo("evil")
        change(member)
        tar.addfile(member)
    return path


def _set(**values: Any) -> Any:
    return lambda member: [setattr(member, name, value) for name, value in values.items()]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_set(name="../../evil"), "leads out of the archive"),
        (_set(name="x/../../evil"), "leads out of the archive"),
        (_set(name="/etc/evil"), "leads out of the archive"),
        (_set(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "neither a plain file nor a folder"),
        (_set(type=tarfile.LNKTYPE, linkname="x"), "neither a plain file nor a folder"),
        (_set(type=tarfile.FIFOTYPE), "neither a plain file nor a folder"),
        (_set(type=tarfile.CHRTYPE), "neither a plain file nor a folder"),
    ],
)
def test_evil_member_refuses_the_archive(
    store: Store, tmp_path: Path, change: Any, expected: str
) -> None:
    """A path that leads out, a link or a device: the whole archive is refused."""
    with pytest.raises(ArchiveError, match=expected):
        store.add(_evil(tmp_path / "evil.tar.gz", change))
    assert _nothing_stored(store)


def test_bomb_is_refused(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that unpacks to more than the bound is refused while it is read."""
    monkeypatch.setattr("nvmelab.store.archive.MAX_TOTAL_BYTES", 10_000)
    with pytest.raises(ArchiveError, match="10000 bytes"):
        store.add(run_archives.archive(tmp_path))


@pytest.mark.parametrize("key", ["run_id", "host"])
@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "-x", "{{ 7 * 7 }}", "a\n", "a b"])
def test_names_that_are_no_folder_names_are_refused(
    store: Store, tmp_path: Path, key: str, name: str
) -> None:
    """A manifest cannot choose where its record goes, nor smuggle a template into a play."""
    files = run_archives.members(manifest_=run_archives.manifest(**{key: name}), points=[])
    renamed = {path.rpartition("/")[2]: data for path, data in files.items()}
    with pytest.raises(StoreError, match=f"{key} is"):
        store.add(run_archives.pack(tmp_path / "x.tar.gz", renamed))
    assert _nothing_stored(store)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"readme": b"hello"}, "no manifest.json"),
        ({"manifest.json": b"{"}, "manifest.json in it is not JSON"),
        ({"manifest.json": b"[]"}, "is a list, not an object"),
    ],
)
def test_foreign_archive_is_refused(
    store: Store, tmp_path: Path, files: dict[str, bytes], expected: str
) -> None:
    """An archive of something else is refused by what it lacks."""
    with pytest.raises(NvmelabError, match=expected):
        store.add(run_archives.pack(tmp_path / "x.tar.gz", files))


def test_missing_archive_is_named(store: Store, tmp_path: Path) -> None:
    """No such file: told with its path."""
    with pytest.raises(ArchiveError, match=r"gone\.tar\.gz: cannot be read: No such file"):
        store.add(tmp_path / "gone.tar.gz")


def test_failing_write_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full in mid-record leaves no record and no rest."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nvmelab.store.folder.shutil.copyfile", full)
    with pytest.raises(StoreError, match="No space left on device"):
        store.add(run_archives.archive(tmp_path))
    assert _nothing_stored(store)
    assert list((store.path / ".incoming").iterdir()) == []


def test_run_is_found_by_id_prefix_and_latest(store: Store, tmp_path: Path) -> None:
    """`latest` is the newest; an ambiguous or unknown name is refused with examples."""
    with pytest.raises(UnknownRunError, match="holds no runs"):
        store.resolve("latest")
    ids = ["20261121T090000Z-quick-1a2b", "20261121T100000Z-quick-3c4d"]
    for run_id in reversed(ids):
        store.add(run_archives.archive(tmp_path, f"{run_id}.tar.gz", run_id=run_id))
    assert store.run_ids() == ids
    assert store.resolve("latest") == ids[1]
    assert store.resolve("20261121T09") == ids[0]
    with pytest.raises(UnknownRunError, match="2 runs start with '20261121T'"):
        store.resolve("20261121T")
    with pytest.raises(UnknownRunError, match=f"no run is called 'x'.*{ids[1]}"):
        store.resolve("x")


def test_fetched_archives_are_added_and_removed(store: Store, tmp_path: Path) -> None:
    """The good one is stored, the damaged one is told; neither stays behind."""
    fetched = tmp_path / "fetched"
    good = run_archives.archive(fetched / "storage-a")
    bad = run_archives.archive(fetched / "storage-b", host="storage-b")
    good.rename(good.with_name(f"{run_archives.RUN_ID}.{sha256_of(good)}.tar.gz"))
    bad.rename(bad.with_name(f"{run_archives.RUN_ID}.{'0' * 64}.tar.gz"))
    first, second = store.add_fetched(fetched)
    assert not isinstance(first, NvmelabError)
    assert first.action == "added"
    assert isinstance(second, StoreError)
    assert not fetched.exists()


def test_damaged_manifest_is_named(store: Store, tmp_path: Path) -> None:
    """A record somebody edited badly is named by its path."""
    store.add(run_archives.archive(tmp_path))
    path = store.runs_path / run_archives.RUN_ID / "storage-a/manifest.json"
    path.write_text("{")
    with pytest.raises(RecordError, match=r"manifest\.json: cannot be read.* add` the raw\.tar"):
        store.manifests()


def test_damaged_manifest_is_mended_as_it_says(store: Store, tmp_path: Path) -> None:
    """The folder moved away, its archive added: the same record as before."""
    store.add(run_archives.archive(tmp_path))
    folder = store.runs_path / run_archives.RUN_ID / "storage-a"
    good = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text("{")
    moved = folder.rename(tmp_path / "moved")
    store.add(moved / "raw.tar.gz")
    assert (folder / "manifest.json").read_text() == good


def test_store_that_is_a_file_is_told(tmp_path: Path) -> None:
    """Not an empty store: that would hide the runs of the right one."""
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match=r"file: found a file, wanted a folder.*--store"):
        Store(tmp_path / "file").run_ids()


def test_damaged_rows_are_named(store: Store, tmp_path: Path) -> None:
    """A Parquet file that is none is named by its path."""
    store.add(run_archives.archive(tmp_path))
    (store.runs_path / run_archives.RUN_ID / "storage-a/rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordError, match=r"rows\.parquet: cannot be read"):
        store.load("latest")


def test_whole_file_appears_only_without_an_error(tmp_path: Path) -> None:
    """What was there stays when writing fails; afterwards there is no temporary file."""
    path = tmp_path / "new" / "report.html"
    with whole_file(path) as staged:
        staged.write_text("one")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), whole_file(path) as staged:
        staged.write_text(str(1 / 0))
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_whole_file_never_replaces_a_device() -> None:
    """A report to /dev/null must not turn it into a file."""
    with whole_file(Path("/dev/null")) as staged:
        staged.write_text("gone")
    assert Path("/dev/null").is_char_device()


def test_documented_queries_run(store: Store, tmp_path: Path, checkout: Path) -> None:
    """The SQL of docs/store.md gives rows; its percentile is what fio printed for one point."""
    store.add(
        run_archives.archive(tmp_path, points=[run_archives.point(1, verdict={"state": "clean"})])
    )
    text = (checkout / "docs/store.md").read_text("utf-8").partition("```sql")[2]
    sql = text.partition("```")[0].replace("results/", f"{store.path}/")
    database = duckdb.connect()
    medians, percentiles = (
        database.execute(statement).fetchall() for statement in database.extract_statements(sql)
    )
    assert medians
    fio = json.loads(run_archives.FIO_OUTPUT.read_text())["jobs"][0]
    printed = [fio[part]["clat_ns"]["percentile"]["99.000000"] for part in ("read", "write")]
    assert min(printed) <= percentiles[0][-1] <= max(printed)
