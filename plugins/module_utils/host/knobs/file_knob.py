# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Knobs that are files of the kernel: one value in each file that a pattern finds.

Every read and write of them passes through :func:`read_raw` and :func:`write_raw`.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    Knob,
    KnobError,
    Reading,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.kernel_files import write_kernel_file

if TYPE_CHECKING:
    from pathlib import Path

# What reading tells of a setting that is there no more, or not now: the CPU is offline (cpufreq
# answers EBUSY), its driver is off (intel_pstate: EAGAIN), or the device went away meanwhile.
_GONE = (errno.ENOENT, errno.EBUSY, errno.EAGAIN, errno.ENODEV, errno.ENXIO, errno.ENOTDIR)
_MEANINGS = {
    errno.EBUSY: "another setting holds it at what it is",
    errno.EINVAL: "this kernel or driver does not take the value",
    errno.EIO: "the hardware or its firmware refuses",
    errno.ENODEV: "the CPU or device does not support it",
    errno.ENOENT: "the file is not there any more; has a CPU gone offline?",
    errno.EPERM: "the firmware or a kernel argument forbids it",
    errno.EACCES: "only root may write it",
    errno.EROFS: "it is read-only here, as in a container; tune the machine that runs it",
}
_BRACKETS = re.compile(r"\[(\S+)\]")


def read_raw(path: Path) -> str:
    """Return a file's text as the kernel gives it; all reading ends here."""
    return path.read_text(encoding="utf-8", errors="replace")


def write_raw(path: Path, text: str) -> None:
    """Write a file that is there, in one go; all writing ends here."""
    write_kernel_file(path, text)


def read_file(path: Path) -> Optional[str]:
    """Return a file's text without the space around it; None where it is not there, or not now.

    Raises:
        KnobError: it is there and cannot be read.
    """
    try:
        return read_raw(path).strip()
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise KnobError(f"{path}: cannot be read: {error.strerror}; next: become root") from error


def write_file(path: Path, text: str) -> None:
    """Write a value with a newline.

    Raises:
        KnobError: the kernel refuses; names the file, the value and what the errno means.
    """
    try:
        write_raw(path, f"{text}\n")
    except OSError as error:
        meaning = _MEANINGS.get(error.errno or 0, "see dmesg")
        raise KnobError(f"{path}: {text!r} was refused: {error.strerror} ({meaning})") from error


def chosen(text: str) -> str:
    """Return the word in brackets of ``always [madvise] never``; other text as it is."""
    found = _BRACKETS.search(text)
    return found[1] if found else text


def offered(text: Optional[str]) -> Optional[tuple[str, ...]]:
    """Return the words of a list of choices, brackets taken off; None for none."""
    return tuple(word.strip("[]") for word in text.split()) if text else None


class FileKnob(Knob):
    """A knob of one or many files that hold the same kind of value.

    A subclass gives the first four and :meth:`text_of`; places are paths below the root.
    """

    pattern: str  # a path below the root, * allowed
    missing: str  # why a host has none of these files, for a person
    unit = ""  # printed behind values

    def read(self, system: Path) -> Reading:
        """Return the values of the files that the pattern finds."""
        found = {place: self.read_place(system, place) for place in self.places(system)}
        values = {place: value for place, value in found.items() if value is not None}
        if not values:
            return Reading(unavailable=self.missing)
        return Reading(values, allowed=self.allowed(system))

    def places(self, system: Path) -> list[str]:
        """Return the files of the pattern, numbers in their order."""
        return find_places(system, self.pattern)

    def allowed(self, system: Path) -> Optional[tuple[str, ...]]:  # noqa: ARG002
        """Return what the host takes, where it tells."""
        return None

    def read_place(self, system: Path, place: str) -> Optional[str]:
        """Return one value; None where it is not there, or not now."""
        text = read_file(system / place)
        return None if text is None else self.parse(text)

    def parse(self, text: str) -> str:
        """Return the value that the file's text stands for."""
        return chosen(text)

    def text_of(self, asked: Any) -> str:
        """Return what is written for a wish, the same at all places.

        Raises:
            BadInputError: no host takes it.
        """
        return str(asked)

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:  # noqa: ARG002
        """Return the same value at all places."""
        value = self.text_of(asked)
        if reading.allowed is not None and value not in reading.allowed:
            raise BadInputError(
                f"{self.group}: {self.name} {value!r}: this host offers "
                f"{', '.join(reading.allowed)}; next: ask for one of them, or for none"
            )
        return dict.fromkeys(reading.values, value)

    def write(self, system: Path, place: str, value: str) -> None:
        """Write one file, unless it holds the value already.

        It may by now: a write elsewhere has moved it, and the kernel refuses some writes that
        would change nothing (a policy's boost while boost is off for all).
        """
        if self.read_place(system, place) != value:
            write_file(system / place, value)

    def describe(self, values: Mapping[str, str]) -> str:
        """Return the values with their unit."""
        return super().describe({p: self._with_unit(text) for p, text in values.items()})

    def describe_wish(self, asked: Any) -> str:
        """Return the wish with its unit."""
        return self._with_unit(super().describe_wish(asked))

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.unit}" if self.unit else text


class SwitchKnob(FileKnob):
    """A file that turns something on and off; ``on`` and ``off`` are what it holds then."""

    on = "1"
    off = "0"

    def text_of(self, asked: Any) -> str:
        """Return what the file holds for true and false."""
        if not isinstance(asked, bool):
            raise BadInputError(f"{self.group}: {self.name} {asked!r}: wanted true or false")
        return self.on if asked else self.off

    def describe(self, values: Mapping[str, str]) -> str:
        """Return on or off."""
        words = {self.on: "on", self.off: "off"}
        return super().describe({place: words.get(v, v) for place, v in values.items()})


def find_places(system: Path, pattern: str) -> list[str]:
    """Return the paths below the root that match, ``cpu2`` before ``cpu10``."""
    return sorted((str(path.relative_to(system)) for path in system.glob(pattern)), key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part or -1), text) for text, part in re.findall(r"(\D*)(\d*)", name)]
