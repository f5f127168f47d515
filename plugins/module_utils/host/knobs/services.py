# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of services, and stopping and starting them.

Tools are looked for below the root of the machine, so that a test's folder never reaches the
machine that runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.host.commands import find_tool, output
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import KnobError

if TYPE_CHECKING:
    from pathlib import Path

_SHOW_S = 10
_CHANGE_S = 90  # systemd itself gives a service 90 s to stop


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
    argv = [tool, "show", "--property=LoadState,ActiveState", *units]
    text = output(argv, error=KnobError, deadline_s=_SHOW_S)
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
    output([tool, verb, unit], error=KnobError, deadline_s=_CHANGE_S)


def process_names(system: Path) -> set[str]:
    """Return the names of the programs that run, where no systemd tells; 15 characters at most."""
    names = set()
    for path in system.glob("proc/[0-9]*/comm"):
        try:
            names.add(path.read_text("utf-8", "replace").strip())
        except OSError:  # it has ended
            continue
    return names
