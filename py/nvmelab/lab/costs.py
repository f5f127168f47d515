# SPDX-License-Identifier: GPL-3.0-or-later
"""What a setting is known to cost: a small table of published measurements, with their sources."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from importlib import resources

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Cost:
    """What not being as asked costs. ``iops_percent`` is negative; ``None``: nobody measured it.

    ``source`` says in words where that is from; empty when nothing is known at all.
    """

    iops_percent: float | None = None
    text: str = ""
    source: str = ""

    def __str__(self) -> str:
        """Return the cost with its source, for a person."""
        if not self.source:
            return UNKNOWN
        amount = "" if self.iops_percent is None else f"{_signed(self.iops_percent)} % IOPS, "
        return f"{amount}{self.text} ({self.source})"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table: for which setting, found how and asked how, which cost."""

    setting: str
    iops_percent: float | None
    text: str
    source: str
    found: tuple[str, ...] = field(default=())
    asked: tuple[str, ...] = field(default=())

    def fits(self, setting: str, found: str, asked: str) -> bool:
        """Whether the entry tells of this deviation."""
        return (
            self.setting == setting and _has_one(self.found, found) and _has_one(self.asked, asked)
        )


def cost(setting: str, found: str, asked: str) -> Cost:
    """Return what is known of the setting, in force ``found`` where ``asked`` was asked for."""
    for entry in entries():
        if entry.fits(setting, found, asked):
            return Cost(entry.iops_percent, entry.text, entry.source)
    return Cost()


@functools.cache
def entries() -> tuple[Entry, ...]:
    """Return the table, in its order."""
    import yaml  # noqa: PLC0415 (only the doctor pays for it)

    text = resources.files("nvmelab.lab").joinpath("knob_costs.yml").read_text("utf-8")
    return tuple(
        Entry(
            setting=line["setting"],
            iops_percent=line["iops_percent"],
            text=line["text"],
            source=line["source"],
            found=tuple(line.get("found") or ()),
            asked=tuple(line.get("asked") or ()),
        )
        for line in yaml.safe_load(text)
    )


def _has_one(words: tuple[str, ...], text: str) -> bool:
    """Return whether one of the words stands in the text: ``performance (4), powersave (2)``."""
    return not words or bool(set(words) & set(re.findall(r"[\w-]+", text)))


def _signed(percent: float) -> str:
    return f"{percent:+g}".replace("-", "\N{MINUS SIGN}")
