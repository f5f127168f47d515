# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the archive of one run directory, as a lab host sent it.

Nothing is unpacked to disk: members are read in memory, one after the other, so a name in the
archive can never become a path here. What is needed is kept, what is foreign is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils import fio_output
from ansible_collections.nvmelab.bench.plugins.module_utils.client import output as client_output
from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from nvmelab.errors import BadInputError, NvmelabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A point's json+ output is some 50 kB; these bounds only stop a bomb or a mix-up.
MAX_MEMBER_BYTES = 256 * 2**20
MAX_TOTAL_BYTES = 16 * 2**30
MAX_MEMBERS = 1_000_000
HISTOGRAM_KINDS = ("clat", "lat", "slat")
_CLIENT_OUTPUT = re.compile(
    rf"points/(?P<id>.+)\.(?P<client>{workload.BDEVPERF}|{workload.NVME_PERF})\.txt"
)
_READ_ERRORS = (tarfile.TarError, EOFError, zlib.error, OSError)


class ArchiveError(NvmelabError):
    """The archive is damaged, or holds what a run directory never holds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One direction of one job: values by column name, and histograms by kind of latency."""

    values: dict[str, Any]
    bins_ns: dict[str, dict[int, int]]


@dataclass
class RunDirectory:
    """What a run directory says: parsed, not yet judged.

    ``unreadable`` has the points whose output the reader refused, with its reason.
    """

    manifest: Any = None
    plan: Any = None
    points: dict[str, dict[str, Any]] = field(default_factory=dict)
    measured: dict[str, list[Measured]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    results: dict[str, client_output.Result] = field(default_factory=dict)


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 as 64 hexadecimal digits.

    Raises:
        ArchiveError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error


def read_archive(path: Path) -> RunDirectory:
    """Return the run directory in the archive, its fio output parsed.

    Raises:
        ArchiveError: truncated or otherwise damaged, a member that is not a plain file or folder,
            a name that leads out of the archive, more than the bounds above, or no manifest.
    """
    found = RunDirectory()
    try:
        with gzip.open(path) as unzipped:
            with tarfile.open(fileobj=unzipped, mode="r|") as tar:
                for name, member in _members(tar, path):
                    stream = tar.extractfile(member)
                    if stream is not None:
                        _take(found, name, stream, path)
            # tar stops at its end mark; gzip's checksum comes after it.
            while unzipped.read(2**20):
                pass
        _settle_results(found)
    except _READ_ERRORS as error:
        raise ArchiveError(
            f"{path}: the archive is damaged ({error or type(error).__name__});"
            " nothing was stored of it: collect again"
        ) from error
    if found.manifest is None:
        raise ArchiveError(f"{path}: no manifest.json in it, so it is not the archive of a run")
    return found


def _members(tar: tarfile.TarFile, path: Path) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield the plain files with their names inside the run directory."""
    total_bytes = 0
    for number, member in enumerate(tar, 1):
        _refuse_unsafe(member, path)
        total_bytes += member.size
        if number > MAX_MEMBERS or total_bytes > MAX_TOTAL_BYTES:
            raise ArchiveError(
                f"{path}: more than {MAX_MEMBERS} members or {MAX_TOTAL_BYTES} bytes unpacked"
            )
        if member.isreg():
            yield _inner_name(member.name), member


def _refuse_unsafe(member: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise ArchiveError(f"{path}: member {member.name!r} leads out of the archive: refused")
    if not (member.isreg() or member.isdir()):
        raise ArchiveError(
            f"{path}: member {member.name!r} is neither a plain file nor a folder: refused"
        )
    if member.size > MAX_MEMBER_BYTES and _inner_name(member.name).startswith("points/"):
        raise ArchiveError(
            f"{path}: member {member.name!r} has {member.size} bytes,"
            f" more than the {MAX_MEMBER_BYTES} that a point may have"
        )


def _inner_name(name: str) -> str:
    """Return the name without the folder of the run, if the archive was packed with it."""
    parts = PurePosixPath(name).parts
    inside = ("manifest.json", "plan.json")
    if len(parts) > 1 and (parts[1] in inside or parts[1] in ("points", "logs")):
        parts = parts[1:]
    return "/".join(parts)


def _take(found: RunDirectory, name: str, stream: IO[bytes], path: Path) -> None:
    if name == "manifest.json":
        found.manifest = _json(stream, path, name)
    elif name == "plan.json":
        found.plan = _json(stream, path, name)
    elif name.startswith("points/") and name.endswith(".fio.json"):
        _take_fio(found, name.removeprefix("points/").removesuffix(".fio.json"), stream, path)
    elif output := _CLIENT_OUTPUT.fullmatch(name):
        _take_client(found, output["id"], output["client"], stream, path)
    elif name.startswith("points/") and name.endswith(".json"):
        point = _json(stream, path, name)
        if isinstance(point, dict):
            found.points[name.removeprefix("points/").removesuffix(".json")] = point


def _take_fio(found: RunDirectory, point_id: str, stream: IO[bytes], path: Path) -> None:
    """Parse now, keep the rows only: the text of a thousand points need not fit in memory."""
    file = f"{path.name}:points/{point_id}.fio.json"
    try:
        output = fio_output.output_from_bytes(stream.read(), file=file)
    except fio_output.FioOutputError as error:
        found.unreadable[point_id] = str(error)
    else:
        found.measured[point_id] = [
            _measured(row)
            for row in output.rows
            # The sums beside the directions, and the status documents on the way, count twice.
            if row.is_last_document and not row.is_aggregate
        ]


def _take_client(
    found: RunDirectory, point_id: str, client: str, stream: IO[bytes], path: Path
) -> None:
    file = f"{path.name}:points/{point_id}.{client}.txt"
    text = stream.read().decode("utf-8", "replace")
    try:
        found.results[point_id] = client_output.result_of(client, text, file=file)
    except client_output.ClientOutputError as error:
        found.unreadable[point_id] = str(error)


def _settle_results(found: RunDirectory) -> None:
    """Make rows of the other clients' results, now that the points' records are there too."""
    for point_id, result in found.results.items():
        options = found.points.get(point_id, {}).get("fio_options") or {}
        try:
            found.measured[point_id] = [_measured(result.row(options))]
        except BadInputError as error:
            found.unreadable[point_id] = str(error)


def _measured(row: fio_output.FioRow) -> Measured:
    values = row.as_dict()
    if clat := row.latency("clat"):
        values.update(
            clat_count=clat.count,
            clat_min_ns=clat.min_ns,
            clat_max_ns=clat.max_ns,
        )
    bins = {}
    for kind in HISTOGRAM_KINDS:
        latency = row.latency(kind)
        if latency and (pairs := latency.bins_ns):
            bins[kind] = dict(pairs)
    return Measured(values, bins)


def _json(stream: IO[bytes], path: Path, name: str) -> Any:
    try:
        return json.loads(stream.read())
    except ValueError as error:
        raise ArchiveError(f"{path}: {name} in it is not JSON: {error}") from error
