# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles guest, storage_target and fio_run called from a play of one's own."""

from __future__ import annotations

from typing import Any

from bench_lab import Lab


def test_guest_is_an_ansible_host(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """A target serves a disk, a guest boots on it, Ansible measures in it, all is stopped."""
    done = lab.run(
        [
            "ansible-playbook",
            "tests/end-to-end/playbooks/guest_as_host.yml",
            *("-i", "inventories/lab"),
            *("-e", f"nvmelab_root={lab.root}"),
        ]
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "IN-GUEST localhost vd" in done.stdout
    assert lab.processes() == []
