# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that is launched and waited for later; its QEMU and ssh are fakes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab_fakes import device, guest_spec, lab_image, program, qemu_capabilities

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.guest import starting as guest
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import GuestError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import StartingGuest
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends

FAKE_QEMU = (Path(__file__).parents[4] / "support/fake_qemu.py").read_text(encoding="utf-8")

Launch = Callable[..., StartingGuest]


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    """Launch a guest whose QEMU behaves as wished; nothing runs after the test."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "ssh", "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(backends, "TMPFS", str(tmp_path))
    image = lab_image(tmp_path)
    qemu = qemu_capabilities(program(tmp_path / "qemu", FAKE_QEMU))

    def start(wish: str = "", deadline_s: float = 20.0) -> StartingGuest:
        monkeypatch.setenv("FAKE_QEMU", wish)
        return guest.launch_guest(
            guest_spec(device(backend={"kind": "raw-file", "size_mib": 1})),
            directory=tmp_path / "run",
            image=image,
            qemu=qemu,
            accelerator="tcg",
            deadline_s=deadline_s,
        )

    yield start
    processes.stop_recorded(tmp_path / "run" / "processes")


def left(folder: Path) -> list[str]:
    """What is left of guests, beside their logs."""
    files = (path for path in (folder / "run").rglob("*") if not path.is_dir())
    return [str(path) for path in files if path.suffix != ".log"]


def test_a_guest_that_was_up_long_ago_is_still_found(launch: Launch) -> None:
    """Its deadline has passed while others were waited for; it answers at once."""
    starting = launch(deadline_s=1.0)
    time.sleep(1.1)
    running = starting.wait()
    assert running.boot_s > starting.deadline_s
    running.check()
    running.stop()


def test_a_guest_is_launched_before_it_answers(launch: Launch, tmp_path: Path) -> None:
    """Its QEMU lives, nothing is wrong with it, and it can be ended without a wait."""
    starting = launch("silent")
    assert processes.is_alive(starting.running.process)
    starting.check()
    starting.stop()
    assert not processes.is_alive(starting.running.process)
    assert left(tmp_path) == []


def test_a_guest_that_panics_meanwhile_is_named_without_a_wait(
    launch: Launch, tmp_path: Path
) -> None:
    """Asked, it says so; waited for, it says so too, and nothing is left of it."""
    starting = launch("silent")
    with starting.running.serial_log.open("a") as log:
        log.write("[    1.0] Kernel panic - not syncing: no root\n")
    with pytest.raises(GuestError, match="panicked"):
        starting.check()
    with pytest.raises(GuestError, match="panicked"):
        starting.wait()
    assert left(tmp_path) == []
