# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of what tuning has changed: how the host was before, which places, what it left.

It is written before the first change, so that a killed play can be undone. There is one file for
all knobs; tuning by a run on top of a user's own play keeps the user's part below it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugetlb_mounts import (
    absent_folders,
    make_folders,
    remove_folders,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import KnobError
from ansible_collections.nvmelab.bench.plugins.module_utils.kernel_files import boot_id

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
NAME = "host_state.json"

Values = dict[str, dict[str, str]]  # by knob and place


@dataclass(frozen=True)
class Record:
    """What tuning has changed since ``tuned_at``.

    ``before`` is the whole snapshot at the first change; ``touched`` the places that were written
    or may have moved; ``written`` what tuning left there; ``asked`` the wishes in force.
    ``run_id`` is the run that tuned, None for a user's own play. ``folders`` had to be made for
    the file. ``under`` is a user's own tuning, that was there when a run tuned on top of it.
    ``is_void`` tells that the host was booted since: the settings ended with that boot.
    """

    boot_id: str
    tuned_at: str
    run_id: Optional[str]
    before: Values
    touched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    written: Values = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    under: Optional[Record] = None
    is_void: bool = False

    def touching(self, places: Mapping[str, Iterable[str]], written: Values) -> Record:
        """Return it with these places as touched too, and what is written there."""
        touched, values = dict(self.touched), {**self.written}
        for name, more in places.items():
            touched[name] = tuple(dict.fromkeys((*touched.get(name, ()), *more)))
        for name, new in written.items():
            values[name] = {**values.get(name, {}), **new}
        return replace(self, touched=touched, written=values)

    def knowing(self, values: Mapping[str, Mapping[str, str]]) -> Record:
        """Return it with places that appeared since; what is known of others stays."""
        names = {**self.before, **values}
        merged = {name: {**values.get(name, {}), **self.before.get(name, {})} for name in names}
        return replace(self, before=merged)

    def merged(self) -> Record:
        """Return it as one with what is under it, whose picture of the host is the older."""
        if self.under is None:
            return self
        one = self.under.knowing(self.before).touching(self.touched, self.written)
        return replace(one, asked={**one.asked, **self.asked})

    def without(self, names: Iterable[str]) -> Optional[Record]:
        """Return what is left once these knobs are put back; None for nothing."""
        gone = set(names)
        left = {name: places for name, places in self.touched.items() if name not in gone}
        if not left:
            return None
        written = {name: values for name, values in self.written.items() if name in left}
        asked = {name: value for name, value in self.asked.items() if name in left}
        return replace(self, touched=left, written=written, asked=asked)


def begin(
    old: Optional[Record], path: Path, system: Path, before: Values, run_id: Optional[str]
) -> Record:
    """Return the record that a tuning extends: the old one, or a new one, perhaps on top of it.

    A user's play takes over what a run has left, into the user's own tuning where there is one
    under it, so that there are never more than two; a run leaves a user's tuning as it is.
    """
    if old and (run_id is None or old.run_id is not None):
        kept = old.merged() if run_id is None else old
        return replace(kept.knowing(before), run_id=run_id)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    folders = () if old else tuple(absent_folders([path]))
    return Record(boot_id(system), now, run_id, before, folders=folders, under=old)


def load(path: Path, system: Path) -> Optional[Record]:
    """Return what was recorded; None where nothing is tuned.

    Raises:
        KnobError: the file cannot be understood.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _from_dict(content, boot_id(system))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KnobError(
            f"{path}: found {error!r}, wanted the record of a tuning (schema {SCHEMA_VERSION}); "
            "next: reboot the host, which ends all run-time settings, then remove the file"
        ) from error


def _from_dict(content: Mapping[str, Any], now: str) -> Record:
    under = content["under"]
    if content.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise ValueError(f"schema_version {content['schema_version']!r}")
    return Record(
        boot_id=content["boot_id"],
        tuned_at=content["tuned_at"],
        run_id=content["run_id"],
        before={name: dict(values) for name, values in content["before"].items()},
        touched={name: tuple(places) for name, places in content["touched"].items()},
        written={name: dict(values) for name, values in content["written"].items()},
        asked=dict(content["asked"]),
        folders=tuple(content["folders"]),
        under=None if under is None else _from_dict(under, now),
        is_void=content["boot_id"] != now,
    )


def save(record: Optional[Record], path: Path, old: Optional[Record]) -> None:
    """Write the record, to stay through a power cut; remove the file where nothing is left.

    Args:
        record: what shall be recorded.
        path: the file.
        old: what was recorded; the folders that were made for it go with it.
    """
    if record is not None:
        make_folders(record.folders)
        write_json(path, {"schema_version": SCHEMA_VERSION, **_as_dict(record)})
        return
    path.unlink(missing_ok=True)
    while old is not None:
        remove_folders(old.folders)
        old = old.under


def _as_dict(record: Record) -> dict[str, Any]:
    return {
        "boot_id": record.boot_id,
        "tuned_at": record.tuned_at,
        "run_id": record.run_id,
        "asked": record.asked,
        "before": record.before,
        "touched": {name: list(places) for name, places in record.touched.items()},
        "written": record.written,
        "folders": list(record.folders),
        "under": None if record.under is None else _as_dict(record.under),
    }
