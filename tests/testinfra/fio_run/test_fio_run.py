# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role fio_run left on a lab host, asked of the host itself (scenario fio_run)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

RUN = "/var/lib/nvmelab/sweeps/molecule"
POINTS = ("null-qd4", "shm-write", "shm-read")


@pytest.mark.parametrize("point", POINTS)
def test_fio_s_own_output_is_there_whole(host: Host, point: str) -> None:
    """The host's own python reads each point's file; fio saw no error."""
    text = host.check_output(f"python3 -m json.tool {RUN}/points/{point}.fio.json")
    (job,) = json.loads(text)["jobs"]
    assert job["error"] == 0


def test_the_file_holds_what_was_written(host: Host) -> None:
    """The disk usage of the test file agrees with the bytes that fio counted."""
    text = host.file(f"{RUN}/points/shm-write.fio.json").content_string
    (job,) = json.loads(text)["jobs"]
    assert host.file("/dev/shm/molecule-fio").size == job["write"]["io_bytes"] == 8 << 20


def test_nothing_is_left_running(host: Host) -> None:
    """No fio and no executor outlives the role."""
    assert host.process.filter(comm="fio") == []
    commands = host.check_output("ps -eo args")
    assert "nvmelab" not in commands


def test_nothing_is_left_half_written(host: Host) -> None:
    """Temporary files of an atomic write are gone."""
    assert host.check_output(f"find {RUN} -name '.*' -o -name '*.tmp'") == ""


def test_each_point_was_measured_once(host: Host) -> None:
    """Check, converge and idempotence all ran; the fio that counts its calls measured each once."""
    calls = host.file("/var/tmp/fio.calls").content_string.splitlines()
    measured = [call for call in calls if "--output-format" in call]
    assert len(measured) == len(POINTS), calls
