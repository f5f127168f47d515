# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build in one file: packed on the host that built it, unpacked on those that take it over.

The stamp is the archive's first member, so what it holds is known without reading all of it.
A build has its place baked in: both hosts have the same lab directory, architecture and, unless
told otherwise by its checks, distribution.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.build import mirrors, stamp
from ansible_collections.nvmelab.bench.plugins.module_utils.build.engine import Outcome, os_name
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import BuildError
from ansible_collections.nvmelab.bench.plugins.module_utils.build.files import (
    CachedFile,
    extract_all,
    sha256_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.locks import locked
from ansible_collections.nvmelab.bench.plugins.module_utils.build.plan import Order, Plan, machine
from ansible_collections.nvmelab.bench.plugins.module_utils.build.products import unmet
from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import FULL_HASH, Recipe
from ansible_collections.nvmelab.bench.plugins.module_utils.build.store import STAMP

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.steps import Site

# What a host that only unpacks cannot know.
UNKNOWN_HERE = (stamp.TOOLCHAIN, "submodules", "source")


@dataclass(frozen=True)
class Archive:
    """A packed build: where it is, and what its checksum must be."""

    url: str
    sha256: str


def pack(record: dict[str, Any], folder: Path) -> tuple[Path, str, bool]:
    """Pack a build into ``folder``; the file, its sha256, and whether it had to be made.

    Raises:
        BuildError: the folder cannot be written.
    """
    prefix = Path(record["prefix"])
    path = folder / f"{record['name']}-{record['version']}-{record['digest']}.tar.gz"
    if path.is_file() and _record_in(path) == record:
        return path, sha256_of(path), False
    part = path.with_name(f".{path.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(part, "w:gz", compresslevel=1) as tar:
            tar.add(prefix / STAMP, arcname=STAMP)
            for entry in sorted(prefix.iterdir()):
                if entry.name != STAMP:
                    tar.add(entry, arcname=entry.name)
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise BuildError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return path, sha256_of(path), True


def _record_in(path: Path) -> Optional[dict[str, Any]]:
    """The stamp in an archive; None when it is no archive of a build."""
    try:
        with tarfile.open(path, "r:*") as tar:
            first = tar.next()
            file = tar.extractfile(first) if first and first.name == STAMP else None
            record: dict[str, Any] = json.load(file) if file else {}
    except (OSError, EOFError, tarfile.TarError, ValueError):
        return None
    return record if isinstance(record.get("inputs"), dict) else None


def unpack(order: Order, archive: Archive, *, check_mode: bool = False) -> Outcome:
    """See that the build of an archive is there; the archive is not needed once it is.

    Raises:
        BuildError: it is another archive or another build than was asked for, was built for
            another place or architecture, or does not work here.
    """
    for record in order.shelf.stamps():
        taken = record.get("unpacked_from") or {}
        if taken.get("sha256") == archive.sha256:
            _refuse_other(order.recipe, record, archive)
            if not unmet(_site(order, record), order.recipe.checks)[0]:
                return _found(record)
    file = _file(order, archive)
    if check_mode and not file.is_here():
        reasons = [f"{order.recipe.label}: would fetch and unpack {archive.url}"]
        return Outcome(changed=True, record=None, reasons=reasons, diff=Plan(reasons).diff())
    path = file.obtain(offline=order.access.offline)
    return _take_over(order, archive, path, check_mode=check_mode)


def _take_over(order: Order, archive: Archive, path: Path, *, check_mode: bool) -> Outcome:
    record = _record_in(path)
    if not record:
        raise BuildError(f"{archive.url}: found no {STAMP} in it, wanted an archive of pack_to")
    _refuse_other(order.recipe, record, archive)
    _refuse_elsewhere(order, record, archive)
    prefix = Path(record["prefix"])
    plan = Plan([f"{prefix} is not unpacked yet"], record["inputs"], prefix)
    here, there = os_name(), record["built_on"]["os"]
    remarks = [] if here == there else [f"built on {there}, this host is {here}"]
    if not check_mode:
        doing = f"unpacking {order.recipe.label}"
        with locked(order.shelf.lock, deadline=order.deadline, doing=doing):
            record = _unpack(order, archive, path, record)
    return Outcome(
        changed=True, record=record, reasons=plan.reasons, diff=plan.diff(), remarks=remarks
    )


def _file(order: Order, archive: Archive) -> CachedFile:
    access = order.access
    place = mirrors.fetched_from(archive.url, access.mirrors)
    return CachedFile(access.folder, archive.url, place, archive.sha256, order.deadline)


def _site(order: Order, record: dict[str, Any]) -> Site:
    return order.site(Path(record["prefix"]), str(record["source"].get("commit", "")))


def _refuse_other(recipe: Recipe, record: dict[str, Any], archive: Archive) -> None:
    """Refuse an archive of another recipe; of what was fetched, compare what was asked for."""
    source = record["source"]
    found = {key: value for key, value in record["inputs"].items() if key not in UNKNOWN_HERE}
    asked = stamp.inputs_of(recipe, commits={"": ""}, toolchain={}, machine=machine())
    wanted = {key: value for key, value in asked.items() if key not in UNKNOWN_HERE}
    pairs = [("sha256", recipe.sha256), ("commit", recipe.commit)]
    is_hash = bool(recipe.ref and FULL_HASH.fullmatch(recipe.ref))
    pairs += [("commit" if is_hash else "ref", recipe.ref)]
    for key, value in pairs:
        if value:
            found[key], wanted[key] = source.get(key), value
    for piece in record["submodules"]:
        override = recipe.overrides.get(piece["path"])
        if override and override.ref:
            found[f"submodule {piece['path']}"] = piece["ref"]
            wanted[f"submodule {piece['path']}"] = override.ref
    lines = stamp.differences(found, wanted)
    if lines:
        raise BuildError(f"{archive.url} holds another build: {'; '.join(lines)}; build it anew")


def _refuse_elsewhere(order: Order, record: dict[str, Any], archive: Archive) -> None:
    here = order.shelf.prefix(record["version"], record["digest"])
    if record["prefix"] != str(here):
        raise BuildError(
            f"{archive.url}: found a build for {record['prefix']}, wanted one for {here}; build it"
            " with the same lab directory (nvmelab_root) as here"
        )


def _found(record: dict[str, Any]) -> Outcome:
    plan = Plan([], record["inputs"], record=record)
    return Outcome(changed=False, record=record, reasons=[], diff=plan.diff())


def _proven(order: Order, archive: Archive, record: dict[str, Any]) -> dict[str, str]:
    problem, answers = unmet(_site(order, record), order.recipe.checks)
    if problem:
        raise BuildError(f"{archive.url} was unpacked, but does not work here: {problem}")
    return answers


def _unpack(order: Order, archive: Archive, path: Path, record: dict[str, Any]) -> dict[str, Any]:
    prefix = Path(record["prefix"])
    work = order.shelf.clear(prefix)
    work.mkdir(parents=True)
    try:
        with tarfile.open(path) as tar:
            extract_all(tar, work, archive.url, links_checked=False)
        (work / STAMP).unlink()
        work.rename(prefix)
        answers = _proven(order, archive, record)
    except (OSError, tarfile.TarError) as error:
        shutil.rmtree(prefix, ignore_errors=True)
        raise BuildError(f"{archive.url} cannot be unpacked: {error}") from error
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    path.unlink()  # our copy in the cache; the stamp says from now on what it was
    taken = {"url": mirrors.redacted(archive.url), "sha256": archive.sha256, "at": at}
    record = {**record, "answers": answers, "unpacked_from": taken}
    order.shelf.write(prefix, record)
    return record
