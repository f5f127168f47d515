# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of runs: the only place where results are written on the control node.

``<store>/runs/<run_id>/<host>/{manifest.json,rows.parquet,histograms.parquet,raw.tar.gz}``.
A record appears by rename, whole or not at all, and never changes once its run is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvmelab.errors import BadInputError, NvmelabError
from nvmelab.store import parquet
from nvmelab.store.archive import read_archive, sha256_of
from nvmelab.store.ingest import settle, write_record
from nvmelab.store.records import RecordError, Run, check_manifest
from nvmelab.store.staging import StoreError, publish, staging_folder, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = [
    "Added",
    "Store",
    "StoreError",
    "UnknownRunError",
    "default_path",
    "whole_file",
]

DEFAULT_STORE = "results"
STORE_VARIABLE = "NVMELAB_STORE"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@%+-]*")
_TIME = re.compile(r"[0-9TZ:.+-]*")


class UnknownRunError(BadInputError):
    """No run, or more than one, is meant by what the user typed."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one archive: ``action`` is added, unchanged or replaced."""

    run_id: str
    host: str
    action: str
    state: str
    point_count: int


def default_path() -> Path:
    """Return the store that is meant when none is named."""
    return Path(os.environ.get(STORE_VARIABLE) or DEFAULT_STORE)


class Store:
    """A folder of records; made when the first one is added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs_path = path / "runs"

    def run_ids(self) -> list[str]:
        """Return every stored run, oldest first: ids start with the time."""
        return sorted({manifest.parent.parent.name for manifest in self._manifest_paths()})

    def resolve(self, wanted: str) -> str:
        """Return the one run id that ``wanted`` means: an id, a unique prefix, or ``latest``.

        Raises:
            UnknownRunError: none or several fit.
        """
        ids = self.run_ids()
        if not ids:
            raise UnknownRunError(f"the store {self.path} holds no runs: `run` or `collect` first")
        if wanted == "latest":
            return ids[-1]
        fitting = [wanted] if wanted in ids else [i for i in ids if i.startswith(wanted)]
        if len(fitting) == 1:
            return fitting[0]
        problem = "no run is called" if not fitting else f"{len(fitting)} runs start with"
        examples = ", ".join((fitting or ids)[-3:])
        raise UnknownRunError(
            f"{problem} {wanted!r} in the store {self.path}; wanted: an id, a unique prefix or"
            f" `latest`, such as {examples}"
        )

    def manifests(self) -> list[dict[str, Any]]:
        """Return every record's manifest, by run and host.

        Raises:
            RecordError: one is damaged or newer than this nvmelab.
        """
        return [_read_manifest(path) for path in sorted(self._manifest_paths())]

    def load(self, wanted: str) -> list[Run]:
        """Return the run's records, one a host, by host name; see :meth:`resolve`.

        Raises:
            UnknownRunError: no such run.
            RecordError: a record is damaged or newer than this nvmelab.
        """
        folder = self.runs_path / self.resolve(wanted)
        return [_read_run(path.parent) for path in sorted(folder.glob("*/manifest.json"))]

    def folders(self, wanted: str) -> list[Path]:
        """Return the folders of the run's records, one a host, by host name."""
        folder = self.runs_path / self.resolve(wanted)
        return [path.parent for path in sorted(folder.glob("*/manifest.json"))]

    def known(self) -> dict[str, dict[str, str]]:
        """Return ``{host: {run_id: finished_at}}``: what a host need not send again."""
        known: dict[str, dict[str, str]] = {}
        for path in self._manifest_paths():
            manifest = _read_manifest(path)
            of_host = known.setdefault(manifest["host"], {})
            finished_at = str(manifest.get("finished_at") or "")
            of_host[manifest["run_id"]] = finished_at if _TIME.fullmatch(finished_at) else ""
        return known

    def incoming(self) -> AbstractContextManager[Path]:
        """Give an empty folder on the store's file system, gone afterwards."""
        return staging_folder(self.path / ".incoming")

    def add_fetched(self, folder: Path) -> Iterator[Added | NvmelabError]:
        """Add and remove every archive that collect.yml fetched: what became of each.

        Their names say the checksum: ``<folder>/<host>/<run_id>.<sha256>.tar.gz``.
        """
        for archive in sorted(folder.glob("*/*.tar.gz")):
            sha256 = archive.name.removesuffix(".tar.gz").rpartition(".")[2]
            try:
                yield self.add(archive, sha256=sha256)
            except NvmelabError as error:
                yield error
            archive.unlink(missing_ok=True)
        for emptied in (*folder.glob("*"), folder):
            with contextlib.suppress(OSError):
                emptied.rmdir()

    def add(self, archive: Path, *, sha256: str | None = None, consume: bool = False) -> Added:
        """Take one archive of a run directory; adding it again changes nothing.

        A complete run never changes. One that was interrupted is replaced when the same run was
        resumed and holds at least as many points. With ``consume`` the archive may be moved away
        instead of copied.

        Raises:
            ArchiveError: damaged or unsafe.
            RecordError: its manifest is wrong or newer than this nvmelab.
            StoreError: another sha256 than promised, or the store cannot be written.
        """
        digest = sha256_of(archive)
        if sha256 and digest != sha256:
            raise StoreError(
                f"{archive}: sha256 is {digest}, the lab host said {sha256}: collect again"
            )
        found = read_archive(archive)
        manifest = settle(check_manifest(found.manifest, where=f"{archive}: manifest.json"))
        _check_names(manifest, archive)
        target = self.runs_path / manifest["run_id"] / manifest["host"]
        replace = False
        if (target / "manifest.json").exists():
            replace = _supersedes(manifest, _read_manifest(target / "manifest.json"))
            if not replace:
                return _added(manifest, "unchanged")
        try:
            with self.incoming() as folder:
                staged = folder / "record"
                staged.mkdir()
                write_record(staged, found, manifest, digest)
                (shutil.move if consume else shutil.copyfile)(archive, staged / "raw.tar.gz")
                publish(staged, target, folder / "replaced")
        except FileExistsError:
            return _added(manifest, "unchanged")
        except OSError as error:
            raise StoreError(f"{target}: cannot be written: {error.strerror or error}") from error
        return _added(manifest, "replaced" if replace else "added")

    def _manifest_paths(self) -> list[Path]:
        if self.path.exists() and not self.path.is_dir():
            raise BadInputError(
                f"store {self.path}: found a file, wanted a folder; next: name another one with "
                f"--store or {STORE_VARIABLE}"
            )
        return list(self.runs_path.glob("*/*/manifest.json"))


def _supersedes(new: dict[str, Any], stored: dict[str, Any]) -> bool:
    """Return whether the run went on after it was stored."""
    if stored["state"] == "complete" or new.get("finished_at") == stored.get("finished_at"):
        return False
    return int(new.get("points_done") or 0) >= int(stored.get("points_done") or 0)


def _added(manifest: dict[str, Any], action: str) -> Added:
    return Added(
        manifest["run_id"],
        manifest["host"],
        action,
        manifest["state"],
        int(manifest.get("points_done") or 0),
    )


def _check_names(manifest: dict[str, Any], archive: Path) -> None:
    """Refuse what could not be a folder's name, or would be a template in a play's variables."""
    for key in ("run_id", "host"):
        if not _NAME.fullmatch(manifest[key]):
            raise StoreError(
                f"{archive}: {key} is {manifest[key]!r}, wanted letters, digits and . _ : @ % + -"
                " with a letter or digit first: refused"
            )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(
            f"{path}: cannot be read: {error}; next: move {path.parent} away, and `nvmelab store "
            "add` the raw.tar.gz in it"
        ) from error
    return check_manifest(manifest, where=str(path))


def _read_run(folder: Path) -> Run:
    manifest = _read_manifest(folder / "manifest.json")
    rows = parquet.read_rows(folder / "rows.parquet")
    return Run(manifest, rows, lambda: parquet.read_histograms(folder / "histograms.parquet"))
