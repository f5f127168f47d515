# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The areas that memory is swapped to: which are on, and what turning one on again needs.

Source: proc(5), /proc/swaps; fstab(5), swapon(8), systemd.swap(5).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import read_file
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import KnobError

if TYPE_CHECKING:
    from pathlib import Path

SWAPS = "proc/swaps"
_DELETED = " (deleted)"
_UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/generator", "usr/lib/systemd/system")
_TAGS = {
    "UUID": "by-uuid",
    "LABEL": "by-label",
    "PARTUUID": "by-partuuid",
    "PARTLABEL": "by-partlabel",
}


@dataclass(frozen=True)
class Area:
    """One swap area that is on; a negative priority is one that the kernel gave."""

    path: str
    priority: int
    used_kib: int = 0

    @property
    def is_deleted(self) -> bool:
        """Whether it is a file that has no name any more, and could not be turned on again."""
        return self.path.endswith(_DELETED)


def parse_swaps(text: str) -> list[Area]:
    """Return the areas of a text like /proc/swaps, highest priority first.

    Raises:
        KnobError: a line is not as proc(5) says.
    """
    areas = []
    # Not split(): the kernel escapes spaces in names, but not all that Unicode calls a space.
    for line in text.strip("\n").split("\n")[1:]:
        words = re.split(r"[ \t]+", line)
        try:
            name, (_, _, used, priority) = words[0], words[1:]
            areas.append(Area(_unescaped(name), int(priority), int(used)))
        except (ValueError, IndexError) as error:
            raise KnobError(
                f"/{SWAPS}: found {line!r}, wanted name, type, size, used and priority"
            ) from error
    return sorted(areas, key=lambda area: (-area.priority, area.path))


def _unescaped(name: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name)


def _escaped(name: str) -> str:
    return re.sub(r"[ \t\n\\=]", lambda match: f"\\{ord(match[0]):03o}", name)


def format_areas(areas: list[Area]) -> str:
    """Return them as one line, ``/dev/zram0=100 /dev/dm-1=-2``; ``off`` for none."""
    return " ".join(f"{_escaped(area.path)}={area.priority}" for area in areas) or "off"


def parse_areas(text: str) -> list[Area]:
    """Return the areas of such a line, in its order."""
    pairs = [word.rpartition("=") for word in text.split(" ") if word != "off"]
    return [Area(_unescaped(name), int(priority)) for name, _, priority in pairs]


def discard_policy(system: Path, path: str) -> Optional[str]:
    """Return how the area at ``path`` is configured to tell its device of freed pages.

    Returns:
        None for not at all, an empty text for the kernel's choice, else ``once`` or ``pages``.
        The kernel does not tell; whoever turned the area on has read fstab or a unit.
    """
    target = _real(system, path)
    for source, options in _configured(system):
        for option in options.split(","):
            name, _, policy = option.strip().partition("=")
            if name == "discard" and _real(system, source) == target:
                return policy
    return None


def _configured(system: Path) -> Iterator[tuple[str, str]]:
    """Yield what may be turned on, and its options."""
    for line in (read_file(system / "etc/fstab") or "").splitlines():
        words = line.split("#", 1)[0].split()
        if len(words) >= 4 and words[2] == "swap":  # noqa: PLR2004 - fields of fstab(5)
            yield words[0], words[3]
    for folder in _UNIT_FOLDERS:
        for unit in sorted((system / folder).glob("*.swap")):
            pairs = (line.partition("=") for line in (read_file(unit) or "").splitlines())
            settings = {key.strip(): value.strip() for key, _, value in pairs}
            if "What" in settings:
                yield settings["What"], settings.get("Options", "")


def _real(system: Path, source: str) -> str:
    """Return the path without links; ``UUID=…`` and its like are looked up as udev names them."""
    tag, _, value = source.partition("=")
    if tag in _TAGS:
        source = f"/dev/disk/{_TAGS[tag]}/{value.strip(chr(34))}"
    return os.path.realpath(system / source.lstrip("/"))
