# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run records of the builds that it uses, on real small builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from build_orders import BuildLab
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.module_utils.host.builds import builds_of
from ansible_collections.nvmelab.bench.plugins.modules import source_build


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> BuildLab:
    return BuildLab(tmp_path)


def build(lab: BuildLab, **changes: Any) -> dict[str, Any]:
    """The stamp of a build of the lab's product, maybe under another name."""
    stamp: dict[str, Any] = run_module(source_build, **lab.options(**changes))["build"]
    return stamp


def test_a_program_leads_to_its_source(lab: BuildLab) -> None:
    """By the program or by its prefix; what is not ours, or not there, is left out."""
    stamp = build(lab)
    wanted = {
        "version": "1.0",
        "digest": stamp["digest"],
        "prefix": stamp["prefix"],
        "url": stamp["source"]["url"],
        "ref": "greet-1.0",
        "commit": lab.origin.git("rev-parse", "HEAD"),
        "sha256": None,
        "submodules": {},
        "stand_ins": [],
    }
    assert builds_of(["/bin/sh", None, f"{stamp['prefix']}/bin/greet"]) == {"greet": wanted}
    assert builds_of([stamp["prefix"]]) == {"greet": wanted}
    assert builds_of(["/bin/sh", "/nonexistent/fio", None]) == {}


def test_what_it_was_made_against_is_told_too(lab: BuildLab) -> None:
    """A fio's engine is that of the xNVMe that its environment named."""
    library = build(lab, name="library")
    flags = f"-L/usr/lib -Wl,-rpath,{library['prefix']}/lib"
    program = build(lab, name="program", environment={"LDFLAGS": flags})
    found = builds_of([f"{program['prefix']}/bin/greet"])
    assert sorted(found) == ["library", "program"]
    assert found["library"]["prefix"] == library["prefix"]


def test_of_two_versions_the_one_in_use_counts(lab: BuildLab) -> None:
    """The host's own program is named before what guests get."""
    old, new = build(lab), build(lab, environment={"GREETING": "new"})
    found = builds_of([f"{new['prefix']}/bin/greet", old["prefix"]])
    assert found["greet"]["digest"] == new["digest"]


def test_stand_ins_are_named(lab: BuildLab) -> None:
    """A figure of a stand-in must not pass for one of the pinned commit."""
    origin = lab.origin
    pinned = origin.git("rev-parse", "HEAD")
    origin.submodule("part", str(origin.folder), pinned)
    other = origin.commit({"more": "x"}, tag="greet-2.0")
    changes = {"ref": "greet-2.0", "submodule_overrides": {"part": {"ref": other}}}
    found = builds_of([build(lab, **changes, submodules=["part"])["prefix"]])
    assert found["greet"]["submodules"] == {"part": other}
    assert found["greet"]["stand_ins"] == ["part"]
