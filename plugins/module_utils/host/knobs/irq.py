# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CPUs that interrupts go to.

Some interrupts have a place that the kernel chose and keeps: the managed ones of an NVMe queue,
the per-CPU ones. They are left out, and said. Source: kernel/irq/proc.c, write_irq_affinity() and
register_irq_proc(); admin-guide/core-api/irq/irq-affinity.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpu_mask import (
    format_mask,
    parse_mask,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpu_wish import online_cpus
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import (
    find_places,
    read_file,
    write_file,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.irqbalance import (
    is_irqbalance_active,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    Knob,
    KnobError,
    Reading,
)

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = "proc/irq/default_smp_affinity"
LISTS = "proc/irq/[0-9]*/smp_affinity_list"


class IrqCpus(Knob):
    """The CPUs of every interrupt that can be moved, and of those that come later."""

    name = "irq_cpus"
    group = "quiet_host"

    def read(self, system: Path) -> Reading:
        """Return a mask for interrupts to come, and a CPU list for each that can be moved."""
        default = read_file(system / DEFAULT)
        if default is None:
            return Reading(unavailable=f"/{DEFAULT}: this kernel cannot move interrupts")
        values, fixed = {DEFAULT: default}, []
        for place in find_places(system, LISTS):
            cpus = _read_list(system / place)
            if cpus and is_movable(system / place):
                values[place] = cpus
            elif cpus:
                fixed.append(place)
        mover = "irqbalance" if is_irqbalance_active(system) else None
        notes = (f"{mover} is active and moves them" if mover else "", _fixed(system, fixed))
        note = "; ".join(text for text in (*notes, _pending(system, values)) if text)
        return Reading(values, note=note or None, moved_by=mover)

    def comparable(self, reading: Reading) -> dict[str, str]:
        """Return the values; the default is nobody's to move."""
        return {**super().comparable(reading), DEFAULT: reading.values[DEFAULT]}

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return the same CPUs for all of them."""
        cpus = online_cpus(f"{self.group}: {self.name}", asked, system)
        wished = dict.fromkeys(reading.values, format_cpu_list(cpus))
        return {**wished, DEFAULT: format_mask(cpus, reading.values[DEFAULT])}

    def write(self, system: Path, place: str, value: str) -> None:
        """Write one place; an interrupt that is gone with its device is none."""
        path = system / place
        if not path.exists() or read_file(path) == value:
            return
        try:
            write_file(path, value)
        except KnobError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
                raise KnobError(
                    f"{path}: {value!r} was refused: these CPUs have no interrupt vector free; "
                    "next: name more CPUs"
                ) from error
            if path.exists():
                raise

    def describe(self, values: Mapping[str, str]) -> str:
        """Return the CPUs, the mask as a list too."""
        return super().describe({place: _as_list(place, text) for place, text in values.items()})


def is_movable(path: Path) -> bool:
    """Return whether the kernel lets anybody choose the CPUs of this interrupt; changes nothing.

    Since 6.13 the mode of the file tells. Older kernels tell a writer only, but refuse him before
    they look at what he wrote: text that is no CPU list gets EINVAL where a list would do.
    """
    try:
        found = path.stat()
        if not found.st_mode & stat.S_IWUSR:
            return False
        # A file of procfs has no size. One that has would take any text.
        return bool(found.st_size) or not _refuses_writers(path)
    except OSError:
        return False


def _refuses_writers(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_WRONLY)
    except OSError:
        return False  # not for us to ask; root may be able to
    try:
        os.write(handle, b"?\n")
    except OSError as error:
        return error.errno in {errno.EIO, errno.EPERM}
    finally:
        os.close(handle)
    return False


def _read_list(path: Path) -> Optional[str]:
    """Return an interrupt's CPUs; None for one that is gone, or has none."""
    with contextlib.suppress(KnobError):  # an interrupt that ends while it is read tells EIO
        return read_file(path)
    return None


def _as_list(place: str, text: str) -> str:
    if place != DEFAULT:
        return text
    try:
        return format_cpu_list(parse_mask(text))
    except BadInputError:
        return text


def _fixed(system: Path, places: Iterable[str]) -> str:
    """Return which interrupts stay where they are and where that is, or an empty text."""
    if not places:
        return ""
    cpus = [cpu for place in places for cpu in _effective(system, place)]
    return f"the kernel lets nobody move {_interrupts(places)}, on CPUs {format_cpu_list(cpus)}"


def _pending(system: Path, lists: Mapping[str, str]) -> str:
    """Return which interrupts still go elsewhere, or an empty text.

    Without interrupt remapping x86 moves one only while it handles it, so that the old CPU gets one
    more.
    """
    late = [
        place
        for place, cpus in lists.items()
        if place != DEFAULT and not set(_effective(system, place)) <= set(parse_cpu_list(cpus))
    ]
    return f"{_interrupts(late)} will move when next raised" if late else ""


def _interrupts(places: Iterable[str]) -> str:
    numbers = {int(place.split("/")[2]) for place in places}
    word = "interrupt" if len(numbers) == 1 else "interrupts"
    return f"{len(numbers)} {word} ({format_cpu_list(numbers)})"


def _effective(system: Path, place: str) -> list[int]:
    """Return the CPUs that an interrupt really goes to; those asked for where nobody tells."""
    path = system / place
    text = _read_list(path.with_name("effective_affinity_list")) or _read_list(path)
    return parse_cpu_list(text) if text else []
