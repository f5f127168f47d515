# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a knob is: one setting of a host that a measurement depends on.

A knob has one value at each of its places, e.g. a governor for each CPU. It says what is there,
what a wish means here, and how to write one place; it neither decides nor remembers anything.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

if TYPE_CHECKING:
    from pathlib import Path


class KnobError(NvmelabError):
    """A setting cannot be read, or did not become what was written."""


@dataclass(frozen=True)
class Reading:
    """What a knob is now.

    ``values`` is by place: a path below the root of the machine (``sys/…/scaling_governor``), or
    what else the knob can find again (``irqbalance.service``). ``unavailable`` says why the host
    has no such knob; there are no values then. ``allowed`` is what the host takes, where it tells.
    ``note`` is what a person should know besides (interrupts that cannot be moved). ``moved_by``
    names who changes the values all the time (irqbalance): they can be set and put back, but two
    readings of an untouched host differ.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    unavailable: Optional[str] = None
    allowed: Optional[tuple[str, ...]] = None
    note: Optional[str] = None
    moved_by: Optional[str] = None


class Knob(ABC):
    """One setting; instances hold no state of the host."""

    name: str  # as the modules' options call it
    group: str  # the module that sets it: "cpupower" or "quiet_host"
    is_settable = True  # False: recorded only, nobody may ask for it
    is_held = False  # True: in force only while a run holds it; nothing is written

    @abstractmethod
    def read(self, system: Path) -> Reading:
        """Return what is set below the root directory ``system``.

        What a host does not have is ``unavailable``, never an error.

        Raises:
            KnobError: it is there and cannot be understood.
        """

    def comparable(self, reading: Reading) -> dict[str, str]:
        """Return the values, with who moves them instead of those that somebody moves."""
        if reading.moved_by is None:
            return dict(reading.values)
        return dict.fromkeys(reading.values, f"moved by {reading.moved_by}")

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return the wished value of each place, for a knob that is available.

        Raises:
            BadInputError: this host or any other cannot take it; names value found and wanted.
        """
        raise NotImplementedError(f"{self.name} is recorded only")

    def refusal(self, system: Path, place: str, value: str) -> Optional[str]:  # noqa: ARG002
        """Return why ``value`` cannot be written to this place, or None; writes nothing."""
        path = system / place
        if os.access(path, os.W_OK) or not path.exists():
            return None  # a place that vanished is told by the second reading
        return (
            f"{path}: found read-only, wanted writable; next: become root, and if this is a "
            "container, set it on the machine that runs it: the kernel is shared"
        )

    def write(self, system: Path, place: str, value: str) -> None:  # noqa: ARG002
        """Write one place; whoever calls reads back.

        Raises:
            KnobError: the host refuses it; names the place, the value and the errno's meaning.
        """
        raise KnobError(f"{place}: {self.name} is recorded only, found a wish for {value!r}")

    def describe(self, values: Mapping[str, str]) -> str:
        """Return the values as one short text: ``performance``, or ``a (6), b (2)`` if mixed."""
        counts: dict[str, int] = {}
        for value in values.values():
            counts[value] = counts.get(value, 0) + 1
        if len(counts) == 1:
            return next(iter(counts))
        return ", ".join(f"{value} ({count})" for value, count in sorted(counts.items()))

    def describe_wish(self, asked: Any) -> str:
        """Return a wish in the words of :meth:`describe`: ``on`` for true."""
        if isinstance(asked, bool):
            return "on" if asked else "off"
        return str(asked)
