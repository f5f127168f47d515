# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries an order out: fetch, configure, build, install, prove, stamp; or find it done.

A build is installed straight into its final folder, for programs know their prefix; the stamp
that makes it whole is written last. So one that fails or is killed at any moment is no build, and
the next run clears it away and starts anew.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Iterator, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.build import git_tree, stamp
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import BuildError
from ansible_collections.nvmelab.bench.plugins.module_utils.build.files import unpack_source
from ansible_collections.nvmelab.bench.plugins.module_utils.build.locks import locked
from ansible_collections.nvmelab.bench.plugins.module_utils.build.mirrors import redacted
from ansible_collections.nvmelab.bench.plugins.module_utils.build.options import known_options
from ansible_collections.nvmelab.bench.plugins.module_utils.build.plan import (
    Order,
    Plan,
    judged,
    make_plan,
    preview,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.products import (
    copy_products,
    unmet,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.steps import Site, run_step
from ansible_collections.nvmelab.bench.plugins.module_utils.processes import log_tail


@dataclass(frozen=True)
class Outcome:
    """What a run did, or would do; ``record`` is None where only a build would tell."""

    changed: bool
    record: Optional[dict[str, Any]]
    reasons: list[str]
    diff: dict[str, str]
    remarks: list[str] = field(default_factory=list)


class Stopwatch:
    """Notes how long each phase took, in seconds."""

    def __init__(self) -> None:
        self.durations_s: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.durations_s[name] = round(time.monotonic() - begin, 2)


def provide(order: Order, *, check_mode: bool = False) -> Outcome:
    """See that the build is there.

    Raises:
        BuildError: it cannot be had; then no stamp is left, and the log is kept.
    """
    watch = Stopwatch()
    if check_mode:
        plan = preview(order)
    else:
        with watch.phase("fetch"):
            plan = make_plan(order)
    if check_mode or not plan.reasons:
        changed = bool(plan.reasons)
        return Outcome(changed=changed, record=plan.record, reasons=plan.reasons, diff=plan.diff())
    doing = f"building {order.recipe.label}"
    with locked(order.shelf.lock, deadline=order.deadline, doing=doing) as lock:
        # Whoever held the lock may have built just this.
        again = judged(order, plan)
        if not again.reasons:
            return Outcome(changed=False, record=again.record, reasons=[], diff=again.diff())
        record = _build(order, again, lock, watch)
    return Outcome(changed=True, record=record, reasons=again.reasons, diff=again.diff())


def _build(order: Order, plan: Plan, lock: int, watch: Stopwatch) -> dict[str, Any]:
    assert plan.prefix is not None and plan.inputs is not None  # noqa: S101, PT018
    commit = plan.inputs["source"].get("commit", "")
    site = order.site(plan.prefix, commit, lock=lock)
    work = order.shelf.clear(plan.prefix)
    site.source.mkdir(parents=True)
    plan.prefix.mkdir()
    try:
        with watch.phase("export"):
            _write_tree(order, plan, site)
        answers = _make(order, site, watch)
        record = _record(order, plan, answers, watch)
        os.sync()  # the stamp must not outlive, in a power cut, what it vouches for
        order.shelf.write(plan.prefix, record)
    except OSError as error:
        shutil.rmtree(plan.prefix, ignore_errors=True)
        raise BuildError(f"{order.recipe.label}: {error}", log=str(site.log)) from error
    except BaseException:
        shutil.rmtree(plan.prefix, ignore_errors=True)
        raise
    finally:
        if not order.keep_tree:
            shutil.rmtree(work, ignore_errors=True)
    return record


def _write_tree(order: Order, plan: Plan, site: Site) -> None:
    if not order.recipe.sha256:
        git_tree.export(plan.pieces, site.source)
        return
    path = order.file().obtain(offline=order.access.offline)
    unpack_source(path, order.recipe.sha256, site.source, order.recipe.label)


def _make(order: Order, site: Site, watch: Stopwatch) -> dict[str, str]:
    """Run the steps, and return what the installed product answers to the checks."""
    recipe = order.recipe
    steps = (("configure", recipe.configure), ("build", recipe.build), ("install", recipe.install))
    site.log.touch()
    for name, argv in steps:
        if argv:
            with watch.phase(name):
                wishes = recipe.configure_if_known if name == "configure" else ()
                run_step(site, name, [*argv, *known_options(site, argv[0], wishes)])
    copy_products(site, recipe.products)
    problem, answers = unmet(site, recipe.checks)
    if problem:
        raise BuildError(
            f"{recipe.label} was built, but does not work: {problem}",
            log=str(site.log),
            log_tail=log_tail(site.log).splitlines(),
        )
    return answers


def _record(order: Order, plan: Plan, answers: dict[str, str], watch: Stopwatch) -> dict[str, Any]:
    """The stamp: its inputs decide, the rest is for people and for the records of runs."""
    assert plan.inputs is not None  # noqa: S101
    return {
        "schema_version": stamp.SCHEMA_VERSION,
        "name": order.recipe.name,
        "version": order.recipe.version,
        "digest": stamp.digest_of(plan.inputs),
        "prefix": str(plan.prefix),
        "inputs": plan.inputs,
        "source": _source(order, plan),
        "submodules": [piece.as_dict() for piece in plan.pieces[1:]],
        "answers": answers,
        "built_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "built_on": {"host": platform.node(), "os": os_name(), "kernel": platform.release()},
        "jobs": order.jobs,
        "durations_s": watch.durations_s,
        "unpacked_from": None,
    }


def _source(order: Order, plan: Plan) -> dict[str, Any]:
    if plan.pieces:
        top = plan.pieces[0].as_dict()
        kept = {key: top[key] for key in ("url", "fetched_from", "ref", "commit")}
        return {"kind": "git", **kept}
    file = order.file()
    places = {"url": redacted(file.url), "fetched_from": redacted(file.place)}
    return {"kind": "tarball", **places, "sha256": file.sha256}


def os_name(os_release: Path = Path("/etc/os-release")) -> str:
    """The distribution's name for itself, e.g. ``Debian GNU/Linux 12 (bookworm)``."""
    try:
        lines = os_release.read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    names = [line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")]
    return names[0] if names else "unknown"


def remove(order: Order, *, check_mode: bool = False) -> Outcome:
    """Remove all builds of the product; the cache of sources stays.

    Raises:
        BuildError: a process runs one of their programs.
    """
    folder = order.shelf.folder
    if not folder.is_dir():
        return Outcome(changed=False, record=None, reasons=[], diff={"before": "", "after": ""})
    users = order.shelf.users()
    if users:
        raise BuildError(f"{folder} is in use by {', '.join(users)}; stop that first")
    names = sorted(path.name for path in folder.iterdir())
    diff = {"before": "".join(f"{folder / name}\n" for name in names), "after": ""}
    if not check_mode:
        with locked(order.shelf.lock, deadline=order.deadline, doing=f"removing {folder}"):
            shutil.rmtree(folder)
    return Outcome(changed=True, record=None, reasons=[f"{folder} is there"], diff=diff)
