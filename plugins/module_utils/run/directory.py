# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run directory on a lab host: its names, its lock, its small state files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file, file_lock
from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Freed when the disk is full, so that the last words of a run can still be written.
RESERVE_BYTES = 256 * 1024


class RunDirectoryError(NvmelabError):
    """A run directory is missing, unreadable, in use, or another run's."""


class RunDirectory:
    """The paths and small files of one run, ``<root>/runs/<run_id>``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = path.name
        self.plan_path = path / "plan.json"
        self.manifest_path = path / "manifest.json"
        self.progress_path = path / "progress.json"
        self.lease_path = path / "lease"
        self.stop_path = path / "stop"
        self.executor_path = path / "executor.json"
        self.reserve_path = path / "reserve"
        self.processes = path / "processes"
        self.points = path / "points"
        self.raw = path / "raw"
        self.logs = path / "logs"

    @classmethod
    def of(cls, root: Path, run_id: str) -> RunDirectory:
        """Return the run's directory below a root; it need not exist."""
        if not RUN_ID.fullmatch(run_id):
            raise BadInputError(f"run_id: found {run_id!r}, wanted letters, digits, '.', '_', '-'")
        return cls(root / "runs" / run_id)

    @classmethod
    def all(cls, root: Path) -> list[RunDirectory]:
        """Return the run directories below a root, sorted by run_id."""
        folder = root / "runs"
        if not folder.is_dir():
            return []
        return [cls(path) for path in sorted(folder.iterdir()) if path.is_dir()]

    def create(self, plan: Mapping[str, Any]) -> bool:
        """Make the directory with its plan; whether it was new.

        Raises:
            RunDirectoryError: it exists and holds another plan.
        """
        if self.plan_path.exists():
            if plan_digest(self.plan()) != plan_digest(plan):
                found, wanted = (
                    (one.get("experiment") or {}).get("name") for one in (self.plan(), plan)
                )
                raise RunDirectoryError(
                    f"{self.plan_path}: holds another plan than the one given under run_id "
                    f"{self.run_id!r} (experiment {found!r} there, {wanted!r} given); use a new "
                    "run_id, or the same experiment, stacks and CPU layout to continue that run"
                )
            return False
        for folder in (self.path, self.processes, self.points, self.logs, self.logs / "points"):
            _make(folder)
        atomic_file.write_json(self.plan_path, plan)
        return True

    def plan(self) -> dict[str, Any]:
        """Return the plan as it was written."""
        return self._read(self.plan_path)

    def manifest(self) -> Optional[dict[str, Any]]:
        """Return the manifest, or None before the executor has written one."""
        return self._read(self.manifest_path) if self.manifest_path.exists() else None

    def executor(self) -> Optional[dict[str, Any]]:
        """Return who executes the run, or None when nobody says so."""
        with contextlib.suppress(RunDirectoryError):
            return self._read(self.executor_path)
        return None

    def record_path(self, point_id: str) -> Path:
        """Return where a point's record lies; written after all its other files."""
        return self.points / f"{point_id}.json"

    def fio_path(self, point_id: str) -> Path:
        """Return where a good point's fio output lies, verbatim."""
        return self.points / f"{point_id}.fio.json"

    def output_path(self, point_id: str, client: str) -> Path:
        """Return where a good point's output lies, verbatim, whatever drove the I/O."""
        if client == workload.FIO:
            return self.fio_path(point_id)
        return self.points / f"{point_id}.{client}.txt"

    def bad_output_path(self, point_id: str, client: str = workload.FIO) -> Path:
        """Return where the output of a failed point is kept."""
        return self.points / f"{point_id}.{client}.out"

    def raw_path(self, point_id: str, guest: str) -> Path:
        """Return where the verbatim output of one guest lies, when a point's is the sum of all."""
        return self.raw / f"{point_id}.{guest}.fio.json"

    def raw_paths(self, point_id: str) -> list[Path]:
        """Return the verbatim outputs that there are of such a point."""
        return sorted(self.raw.glob(f"{point_id}.*"))

    def stderr_path(self, point_id: str) -> Path:
        """Return where the stderr of fio, or another client, lies."""
        return self.logs / "points" / f"{point_id}.stderr"

    def record(self, point_id: str) -> Optional[dict[str, Any]]:
        """Return a point's record, or None when it has not been run."""
        path = self.record_path(point_id)
        return self._read(path) if path.exists() else None

    def is_finished(self, point_id: str) -> bool:
        """Whether the point was measured well and its output is still what it was then."""
        record = self.record(point_id)
        if not record or record.get("state") != "ok":
            return False
        path = self.output_path(point_id, record.get("client", workload.FIO))
        # "fio_sha256" it was called while fio was the only client.
        digest = record.get("output_sha256", record.get("fio_sha256"))
        return path.is_file() and sha256(path) == digest

    def renew_lease(self) -> None:
        """Say that somebody still waits for this run."""
        self.lease_path.touch()

    def lease_age_s(self) -> float:
        """Return how long ago the lease was renewed, by this host's clock; 0 without a lease."""
        try:
            return max(0.0, time.time() - self.lease_path.stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def hold_reserve(self) -> None:
        """Put some bytes aside for the day the disk is full."""
        atomic_file.write_bytes(self.reserve_path, b"\0" * RESERVE_BYTES)

    def free_reserve(self) -> None:
        """Give the bytes back."""
        self.reserve_path.unlink(missing_ok=True)

    def is_live(self) -> bool:
        """Whether an executor holds this run; told by the kernel, not by a pid file."""
        with try_lock(self.path / "lock", create=False) as handle:
            return handle is None

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            value = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"{path}: cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise RunDirectoryError(f"{path}: found {type(value).__name__}, wanted a JSON object")
        return value


@contextlib.contextmanager
def try_lock(
    path: Path, *, create: bool = True, patience_s: float = 0.0
) -> Iterator[Optional[int]]:
    """Give the locked file's descriptor, or None when somebody else holds it all the time.

    The lock belongs to the open file: children by fork share it, programs they execute do not,
    and the kernel drops it with the last of them. Without ``create`` a missing file counts as
    free and gives -1.
    """
    try:
        handle = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o644)
    except FileNotFoundError:
        if create:
            raise
        yield -1
        return
    try:
        yield handle if _lock(handle, time.monotonic() + patience_s) else None
    finally:
        os.close(handle)


def _lock(handle: int, deadline: float) -> bool:
    while not file_lock.take(handle):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def plan_digest(plan: Mapping[str, Any]) -> str:
    """Return the digest that tells equal plans, whatever the order of their keys."""
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(path: Path) -> str:
    """Return the hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic_file.FileWriteError(folder, error) from error
