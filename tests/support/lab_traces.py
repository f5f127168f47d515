# SPDX-License-Identifier: GPL-3.0-or-later
"""What nspawn lab hosts would leave on this machine if they were not taken down."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def traces() -> list[str]:
    """Namespaces, mounts, cgroups and machines of labs that this machine has now."""
    namespaces = Path("/run/netns")
    found = [str(path) for path in namespaces.glob("nvl-*")] if namespaces.is_dir() else []
    found += [str(path) for path in Path("/sys/fs/cgroup").glob("*/nvl-*")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob("nvl-*")]
    # The record of a QEMU that `boothost.py down` has not ended.
    found += [str(path) for path in CHECKOUT.glob(".cache/boothost/processes/*.json")]
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return found + [line.split()[4] for line in mounts if ".cache/lab" in line]
