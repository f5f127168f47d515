# SPDX-License-Identifier: GPL-3.0-or-later
"""fio's own words: which job options exist, how a duration reads, what a sweep expands to.

Source: fio's HOWTO, "Job file parameters"; names in fio_options.txt beside this file.
"""

from __future__ import annotations

import functools
import itertools
import re
from decimal import Decimal, InvalidOperation
from importlib import resources
from typing import TYPE_CHECKING

from nvmelab.experiment.suggest import did_you_mean, nearest, not_allowed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Value = int | float | str
Sweep = Value | list[Value]

# The lab itself says where fio reads, writes and reports.
RESERVED = frozenset(
    {"directory", "filename", "filename_format", "name", "opendir", "profile", "unique_filename"}
)
COUNTS = ("iodepth", "numjobs")
SIZES = ("bs", "blockalign", "size")
# fio's sizes, also read,write,trim ones and ranges; size may be a share of the device.
_SIZE = r"[0-9]+(\.[0-9]+)?([kmgtp]?i?b?|%)"
_SIZES = re.compile(rf"({_SIZE}(-{_SIZE})?)?(,({_SIZE}(-{_SIZE})?)?){{0,2}}", re.IGNORECASE)
DURATIONS = ("startdelay", "ramp_time", "runtime")
NO_DEVICE_ENGINES = frozenset({"cpuio", "null"})

_RW = frozenset(
    {
        *("read", "write", "trim", "randread", "randwrite", "randtrim"),
        *("rw", "readwrite", "randrw", "trimwrite", "randtrimwrite"),
    }
)
_ENGINES = (
    *("cpuio", "io_uring", "io_uring_cmd", "libaio", "libblkio", "mmap", "null", "nvme"),
    *("posixaio", "psync", "pvsync", "pvsync2", "sg", "splice", "sync", "vsync", "xnvme"),
)
_TYPO_CUTOFF = 0.7  # engines come from plugins too: only a near miss is taken for a slip
_DURATION = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<unit>[a-z]*)", re.IGNORECASE)
_UNIT_S = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}


@functools.cache
def _listed() -> tuple[frozenset[str], dict[str, str], tuple[str, ...]]:
    """Names, aliases with their names, and open prefixes, as the data file lists them."""
    names, aliases, prefixes = set(), {}, []
    text = (
        resources.files("nvmelab.experiment")
        .joinpath("fio_options.txt")
        .read_text(encoding="utf-8")
    )
    for line in text.splitlines():
        words = [] if line.startswith("#") else line.split()
        if not words:
            continue
        if words[0].endswith("*"):
            prefixes.append(words[0][:-1])
            continue
        names.add(words[0])
        aliases.update(dict.fromkeys(words[1:], words[0]))
    return frozenset(names), aliases, tuple(prefixes)


def option_names() -> list[str]:
    """The job options that an experiment may use, sorted."""
    return sorted(_listed()[0] - RESERVED)


def option_prefixes() -> list[str]:
    """Prefixes under which every name is allowed, such as ``xnvme_``."""
    return sorted(_listed()[2])


def option_fault(name: str) -> str | None:
    """What is wrong with ``name`` as a job option, or None."""
    names, aliases, prefixes = _listed()
    if name in RESERVED:
        return f"fio option {name!r} is set by nvmelab itself; remove it"
    if name in aliases:
        return f"{name!r} is fio's second name of {aliases[name]!r}; write {aliases[name]!r}"
    if name in names or name.startswith(prefixes):
        return None
    return f"unknown fio option {name!r}{did_you_mean(name, names - RESERVED)}"


def value_fault(name: str, value: Value) -> str | None:
    """What is wrong with one value of the option ``name``, or None."""
    if name == "rw" and str(value).split(":")[0] not in _RW:
        return not_allowed(value, _RW)
    if name == "ioengine" and str(value) not in _ENGINES:
        match = nearest(str(value), _ENGINES, cutoff=_TYPO_CUTOFF)
        return f"found {value!r}, no engine of fio; did you mean {match!r}?" if match else None
    if name in DURATIONS and duration_s(value) is None:
        return f"found {value!r}; wanted a duration such as 1, 90s, 500ms or 2m"
    if name in (*COUNTS, *SIZES):
        return _number_fault(name, value)
    if name == "runtime" and duration_s(value) == 0:
        return f"found {value!r}; wanted more than 0: fio would never end"
    return None


def _number_fault(name: str, value: Value) -> str | None:
    # fio takes iodepth=1k, too; one way of writing a number keeps results comparable.
    if name in COUNTS and not re.fullmatch("[1-9][0-9]*", str(value)):
        return f"found {value!r}; wanted a whole number of at least 1, such as 16"
    if name in SIZES and not _SIZES.fullmatch(str(value)):
        return f"found {value!r}; wanted a size such as 512, 4k or 1m"
    return None


def duration_s(value: Value) -> Decimal | None:
    """``value`` in seconds, or None when it is no duration of fio's."""
    match = _DURATION.fullmatch(str(value).strip())
    unit = _UNIT_S.get(match["unit"].lower()) if match else None
    if match is None or unit is None:
        return None
    try:
        return Decimal(match["number"]) * unit
    except InvalidOperation:
        return None


def word(name: str, value: Value) -> Value:
    """``value`` as fio must get it.

    fio 3.33 reads ``runtime=0.2`` as 30 ms and says nothing, so a fraction is written in
    whole milli- or microseconds.
    """
    if name not in DURATIONS or "." not in str(value):
        return value
    seconds = duration_s(value)
    if seconds is None:
        return value
    micro = round(seconds * 1_000_000)
    return f"{micro // 1000}ms" if micro % 1000 == 0 else f"{micro}us"


def expected_s(options: Mapping[str, Value]) -> float:
    """How long fio runs with these options: start delay, ramp and runtime, in seconds."""
    parts = (duration_s(options[name]) for name in DURATIONS if name in options)
    return float(sum((part for part in parts if part is not None), Decimal(0)))


def expand(options: Mapping[str, Sweep]) -> Iterator[dict[str, Value]]:
    """Every combination of the listed values, the last option varying fastest."""
    listed: list[Sequence[Value]] = [
        value if isinstance(value, list) else [value] for value in options.values()
    ]
    for values in itertools.product(*listed):
        yield {name: word(name, value) for name, value in zip(options, values, strict=True)}
