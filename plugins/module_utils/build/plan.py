# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is ordered, and whether anything has to be done for it: nothing here builds.

That a build is not needed is told by its stamp and by asking the product itself; no make and no
configure script is run for it.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.build import git_tree, mirrors, stamp
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import (
    MissingToolError,
    NotCachedError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.files import CachedFile
from ansible_collections.nvmelab.bench.plugins.module_utils.build.products import unmet
from ansible_collections.nvmelab.bench.plugins.module_utils.build.steps import Site
from ansible_collections.nvmelab.bench.plugins.module_utils.build.store import Shelf
from ansible_collections.nvmelab.bench.plugins.module_utils.build.toolchain import toolchain

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.git_tree import Access, Piece
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import Recipe


@dataclass(frozen=True)
class Order:
    """A recipe, and how and where it is carried out."""

    recipe: Recipe
    access: Access
    root: Path
    deadline: Deadline
    jobs: int
    keep_tree: bool = False

    @property
    def shelf(self) -> Shelf:
        """Where the product's builds lie."""
        return Shelf(self.root, self.recipe.name)

    def file(self) -> CachedFile:
        """The tarball of the recipe."""
        url = self.recipe.url
        place = mirrors.fetched_from(url, self.access.mirrors)
        sha256 = self.recipe.sha256 or ""
        return CachedFile(self.access.folder, url, place, sha256, self.deadline)

    def site(self, prefix: Path, commit: str, *, lock: Optional[int] = None) -> Site:
        """Where and with what the commands of the recipe run for a build at ``prefix``."""
        source = self.shelf.work(prefix) / "source"
        values = {
            "prefix": str(prefix),
            "source": str(source),
            "jobs": str(self.jobs),
            "version": self.recipe.version,
            "commit": commit,
        }
        return Site(
            label=self.recipe.label,
            source=source,
            prefix=prefix,
            log=self.shelf.log,
            environment=self.recipe.environment,
            values=values,
            deadline=self.deadline,
            lock=lock,
        )


@dataclass(frozen=True)
class Plan:
    """What was found, and what has to be done.

    ``inputs`` and ``prefix`` are None where only a fetch would tell them (check mode only);
    ``record`` is the stamp of a build that serves, None when there is none; ``reasons`` say why
    something has to be done, and are empty when nothing has.
    """

    reasons: list[str]
    inputs: Optional[dict[str, Any]] = None
    prefix: Optional[Path] = None
    record: Optional[dict[str, Any]] = None
    closest: Optional[Mapping[str, Any]] = None
    pieces: list[Piece] = field(default_factory=list)

    def diff(self) -> dict[str, str]:
        """Before and after for Ansible's ``--diff``; the closest build is what was before."""
        before = self.record or self.closest
        return {
            "before_header": str(before["prefix"]) if before else "no build",
            "before": _pretty(before["inputs"]) if before else "",
            "after_header": str(self.prefix or "known after the fetch"),
            "after": _pretty(self.inputs) if self.inputs else "\n".join([*self.reasons, ""]),
        }


def _pretty(inputs: Mapping[str, Any]) -> str:
    return json.dumps(inputs, indent=1, sort_keys=True) + "\n"


def machine() -> str:
    """The architecture that builds are for."""
    return platform.machine()


def available_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def make_plan(order: Order) -> Plan:
    """What has to be done; fetches the source if the cache lacks it.

    Raises:
        BuildError: the source or a tool is not to be had.
    """
    recipe = order.recipe
    tools = toolchain(recipe.tools, recipe.environment, order.deadline)
    # Of a tarball only a build needs the file itself: its checksum says all about it.
    pieces = [] if recipe.sha256 else git_tree.resolve(recipe, order.access)
    commits = {piece.path: piece.commit for piece in pieces}
    inputs = stamp.inputs_of(recipe, commits=commits, toolchain=tools, machine=machine())
    prefix = order.shelf.prefix(recipe.version, stamp.digest_of(inputs))
    return judged(order, Plan([], inputs, prefix, pieces=pieces))


def preview(order: Order) -> Plan:
    """What would have to be done, by looking only: nothing is fetched nor written.

    On a host that has neither tools nor sources yet that is all there is to say.
    """
    blind = replace(order, access=replace(order.access, offline=True, refresh=False))
    try:
        return make_plan(blind)
    except MissingToolError as error:
        return Plan([f"{order.recipe.label}: would be built; {error}"])
    except NotCachedError:
        if order.access.offline:
            raise
        return Plan([_would_fetch(order)])


def _would_fetch(order: Order) -> str:
    recipe = order.recipe
    if recipe.sha256 or not recipe.ref:
        return f"{recipe.label}: would fetch {order.file().where}, and build it"
    cache = order.access.cache(recipe.url)
    commit = cache.find(recipe.ref) or cache.peek(recipe.ref)
    what = f"{recipe.ref} (commit {commit})" if commit else recipe.ref
    return f"{recipe.label}: would fetch {what} of {cache.where} with its submodules, and build it"


def judged(order: Order, plan: Plan) -> Plan:
    """The plan with what there is already: a build that serves, or the reasons to build."""
    assert plan.inputs is not None and plan.prefix is not None  # noqa: S101, PT018
    shelf = order.shelf
    record = shelf.read(plan.prefix)
    if record and record["inputs"] == plan.inputs:
        site = order.site(plan.prefix, str(record["source"].get("commit", "")))
        problem, _ = unmet(site, order.recipe.checks)
        if not problem:
            return Plan([], plan.inputs, plan.prefix, record, pieces=plan.pieces)
        return _because(plan, [f"the build at {plan.prefix} does not work: {problem}"], record)
    if plan.prefix.exists():
        return _because(plan, [f"a build at {plan.prefix} was interrupted"], None)
    stamps = shelf.stamps()
    if not stamps:
        return _because(plan, [f"{order.recipe.label} is not built yet"], None)
    nearest, lines = stamp.closest(stamps, plan.inputs)
    return _because(plan, [f"not as {nearest['prefix']}: {line}" for line in lines], nearest)


def _because(plan: Plan, reasons: list[str], closest: Optional[Mapping[str, Any]]) -> Plan:
    return Plan(reasons, plan.inputs, plan.prefix, None, closest, plan.pieces)
