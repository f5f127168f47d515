# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fio's options as data → the argument list of one fio process. Pure.

Source: fio HOWTO, "Command line options", "Parameter types" and the parameter `filename`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError

PERCENTILES = "1:5:10:25:50:75:90:95:99:99.5:99.9:99.95:99.99:99.999"

# These decide where output goes and what is read: they belong to the executor.
RESERVED = frozenset(
    {"append-terse", "client", "daemonize", "eta", "filename", "minimal", "name", "output"}
    | {"output-format", "parse-only", "remote-config", "section", "server", "showcmd"}
    | {"status-interval", "terse-version"}
    # Other ways to say which file is meant: none may lead past the guard on devices.
    | {"directory", "filename-format", "opendir", "profile", "unique-filename"}
)

# Parameters of type "time" with seconds as their unit. fio reads "0.5" there as 0 without a
# word (seen in 3.33), so fractions are written in the largest smaller unit that is whole.
SECONDS = frozenset({"runtime", "timeout", "ramp_time", "startdelay", "start_delay"})

COUNT_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

UNITS_S = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

WRITING = ("write", "trim", "rw")


class FioJobError(BadInputError):
    """The options are not a fio job."""


def argv(
    options: Mapping[str, Any],
    filename: Optional[str],
    *,
    name: str = "point",
    fio: str = "fio",
) -> list[str]:
    """Return the command of one fio process that prints json+ on stdout.

    Args:
        options: fio's own words, e.g. ``{"rw": "randread", "bs": "4k", "iodepth": 16}``;
            None as a value gives a word without one; a list is joined by ``:``.
        filename: the device or file, or None for engines that need none. A ``:`` in it is
            escaped, since fio separates files by it.
        name: the job's name in fio's output.
        fio: the program.

    Raises:
        FioJobError: an option that the executor itself sets, or a value fio cannot be given.
    """
    # The output format comes first: after a job option fio prints a banner before the JSON.
    words = [fio, "--output-format=json+", f"--name={name}"]
    if filename is not None:
        words.append("--filename=" + escape_filename(filename))
    if is_read_only(options):
        words.append("--readonly")  # a second lock beside rw: fio itself then refuses writes
    for key, value in {"percentile_list": PERCENTILES, **options}.items():
        words.append(_word(key, value))
    return words


def argv_of_jobs(
    options: Mapping[str, Any], filenames: Mapping[str, str], *, fio: str = "fio"
) -> list[str]:
    """Return the command of one fio process that drives several devices at once, each by a job.

    Args:
        options: as for :func:`argv`; those of every job. ``group_reporting`` is left out: each
            job's own figures are wanted, and they can be added later.
        filenames: job name -> its device.
        fio: the program.

    Raises:
        FioJobError: see :func:`argv`.
    """
    words = [fio, "--output-format=json+", *(["--readonly"] if is_read_only(options) else [])]
    words.append("--name=global")
    for key, value in {"percentile_list": PERCENTILES, **options}.items():
        if key != "group_reporting":
            words.append(_word(key, value))
    for name, filename in filenames.items():
        words += [f"--name={name}", "--filename=" + escape_filename(filename)]
    return words


def escape_filename(filename: str) -> str:
    """Return the file name as fio wants it: a bare colon there separates names."""
    return filename.replace(":", "\\:")


def is_read_only(options: Mapping[str, Any]) -> bool:
    """Whether the workload only reads; unknown or absent ``rw`` counts by fio's default, read."""
    mode = str(options.get("rw", options.get("readwrite", "read"))).split(":")[0]
    return not any(word in mode for word in WRITING)


def inflight_count(options: Mapping[str, Any]) -> int:
    """Return how many I/Os can be in flight at most: iodepth * numjobs."""
    return count_of(options.get("iodepth", 1)) * count_of(options.get("numjobs", 1))


def count_of(value: Any) -> int:
    """Return a number of fio's as fio reads it: ``16``, ``1k`` is 1024, ``0x10`` is 16.

    Raises:
        FioJobError: it is none.
    """
    found = re.fullmatch(r"(0x[0-9a-f]+|[0-9]+)([kmg]?)(i?b)?", str(value).strip().lower())
    if not found:
        raise FioJobError(f"fio: found {value!r}, wanted a whole number such as 16 or 1k")
    return int(found[1], 0 if found[1].startswith("0x") else 10) * COUNT_UNITS[found[2]]


def runtime_s(options: Mapping[str, Any]) -> Optional[float]:
    """Return the time that the job must run for, or None when its size ends it."""
    timed = str(options.get("time_based", 0)).lower() in ("1", "true", "none")
    return seconds_of(options.get("runtime", options.get("timeout"))) if timed else None


def seconds_of(value: Any) -> Optional[float]:
    """Return a time as fio reads it (2, 0.5, "500ms", "1m") in seconds; None if it is none."""
    found = re.fullmatch(r"([0-9]+[.]?[0-9]*)([a-z]*)", str(value))
    if not found or found[2] not in UNITS_S:
        return None
    return float(found[1]) * UNITS_S[found[2]]


def _word(key: str, value: Any) -> str:
    if key in RESERVED or key.replace("_", "-") in RESERVED:
        raise FioJobError(f"fio option {key!r}: set by nvmelab itself; remove it from the workload")
    if value is None:
        return f"--{key}"
    return f"--{key}={_value(key, value)}"


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return ":".join(_value(key, item) for item in value)
    if key in SECONDS and _is_fraction(value):
        return _seconds(key, str(value))
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, (int, str)):
        return str(value)
    raise FioJobError(
        f"fio option {key!r}: found {value!r} ({type(value).__name__}), "
        "wanted a number, text, boolean or list of these"
    )


def _is_fraction(value: Any) -> bool:
    """Whether a number is written with a point, be it as a number or as text."""
    return isinstance(value, float) or bool(re.fullmatch(r"[0-9]*[.][0-9]+", str(value)))


def _seconds(key: str, value: str) -> str:
    for factor, unit in ((1, "s"), (1000, "ms"), (1_000_000, "us")):
        scaled = Decimal(value) * factor
        if scaled.is_finite() and scaled == int(scaled):
            return f"{int(scaled)}{unit}"
    raise FioJobError(f"fio option {key!r}: found {value} s, wanted whole microseconds")
