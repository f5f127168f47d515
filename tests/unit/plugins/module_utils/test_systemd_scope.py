# SPDX-License-Identifier: GPL-3.0-or-later
"""Where systemd runs a process of ours is a scope of its; everywhere it stays our child."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from run_fakes import wait_until

from ansible_collections.nvmelab.bench.plugins.module_utils import processes, systemd_scope

# It does what the real one does with --scope: tells systemd, then becomes the program.
FAKE = """#!/bin/sh
echo "$@" > {told}
[ -z "$REFUSED" ] || {{ echo "Failed to start transient scope unit: $REFUSED" >&2; exit 1; }}
while [ "$1" != -- ]; do shift; done; shift
exec "$@"
"""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a host that systemd has booted; what systemd-run was told is in ``told``."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    program = tmp_path / "systemd-run"
    program.write_text(FAKE.format(told=tmp_path / "told"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def _start(system: Path, unit: str | None) -> processes.Process:
    return processes.start(
        ["sleep", "60"], name="t", log_path=system / "log", record_dir=system / "p", unit=unit
    )


def test_a_unit_where_there_can_be_one(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name says whose it is, in systemd's letters; none without root, systemd or its tool."""
    unit = systemd_scope.unit_for("20260101T000000Z-a b", "nvmf/1", system=system)
    assert unit == "nvmelab-20260101T000000Z-a_b-nvmf_1.scope"
    assert len(systemd_scope.unit_for("x" * 300, system=system) or "") <= 255
    assert systemd_scope.unit_for("a", system=system / "elsewhere") is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert systemd_scope.unit_for("a", system=system) is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert systemd_scope.unit_for("a", system=system) is None


def test_the_process_is_the_program_itself(system: Path) -> None:
    """Its pid is the recorded one, its arguments the program's own, and it is stopped as ever."""
    process = _start(system, "nvmelab-t.scope")
    assert process.argv[0].endswith("sleep")
    place = Path(f"/proc/{process.pid}")
    wait_until(lambda: (place / "comm").read_text() == "sleep\n")
    assert (place / "cmdline").read_text().split("\0")[-2:] == ["60", ""]
    assert "--scope --quiet --collect --unit=nvmelab-t.scope" in (system / "told").read_text()
    assert processes.stop(process) == "was killed by SIGTERM"
    assert list((system / "p").iterdir()) == []


def test_a_unit_that_systemd_refuses(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has ended, and its log says what systemd said."""
    monkeypatch.setenv("REFUSED", "Unit nvmelab-t.scope already exists.")
    process = _start(system, "nvmelab-t.scope")
    processes.wait(process, deadline_s=30)
    assert processes.exit_reason(process) == "ended with exit status 1"
    assert "already exists" in processes.log_end(process.log, 1)
    processes.stop(process)


def test_without_a_unit_systemd_is_not_asked(system: Path) -> None:
    """A mere process, as it always was."""
    processes.stop(_start(system, None))
    assert not (system / "told").exists()
