# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of services, and stopping and starting them.

Tools are looked for below the root of the machine, so that a test's folder never reaches the
machine that runs it.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import KnobError

if TYPE_CHECKING:
    from pathlib import Path

_FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_SHOW_S = 10
_CHANGE_S = 90  # systemd itself gives a service 90 s to stop


def find_tool(system: Path, name: str) -> Optional[str]:
    """Return the absolute path of a program of this machine, or None."""
    return shutil.which(name, path=":".join(str(system / folder) for folder in _FOLDERS))


def run_tool(argv: Sequence[str], *, deadline_s: float) -> str:
    """Return what a program printed.

    Raises:
        KnobError: it failed, or did not end in time; says what it said.
    """
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=deadline_s,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise KnobError(f"{' '.join(argv)}: did not end within {deadline_s:g} s") from error
    except OSError as error:
        raise KnobError(f"{' '.join(argv)}: cannot be run: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or "nothing was said"
        raise KnobError(f"{' '.join(argv)}: ended with {done.returncode}: {said}")
    return done.stdout


def systemctl(system: Path) -> Optional[str]:
    """Return the path of systemctl, where systemd runs this machine."""
    if not (system / "run/systemd/system").is_dir():
        return None
    return find_tool(system, "systemctl")


def show_units(tool: str, units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return ``LoadState`` and ``ActiveState`` of each unit; ``tool`` is from :func:`systemctl`.

    A unit that is not installed has the LoadState ``not-found``.

    Raises:
        KnobError: systemd does not answer.
    """
    text = run_tool([tool, "show", "--property=LoadState,ActiveState", *units], deadline_s=_SHOW_S)
    blocks = [_properties(block) for block in text.strip().split("\n\n")]
    if len(blocks) != len(units):
        raise KnobError(f"{tool} show: {len(units)} units asked for, {len(blocks)} told")
    return dict(zip(units, blocks))  # noqa: B905 - strict is Python 3.10's


def _properties(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines())
    return {key: value for key, _, value in pairs}


def is_active(properties: Mapping[str, str]) -> bool:
    """Return whether these properties are those of a unit that runs, or did its work and stays."""
    return properties.get("ActiveState") in {"active", "activating", "reloading", "refreshing"}


def change_unit(tool: str, verb: str, unit: str) -> None:
    """Stop or start a unit, until its next start by itself or at boot.

    Raises:
        KnobError: systemd says no.
    """
    run_tool([tool, verb, unit], deadline_s=_CHANGE_S)


def process_names(system: Path) -> set[str]:
    """Return the names of the programs that run, where no systemd tells; 15 characters at most."""
    names = set()
    for path in system.glob("proc/[0-9]*/comm"):
        try:
            names.add(path.read_text("utf-8", "replace").strip())
        except OSError:  # it has ended
            continue
    return names
