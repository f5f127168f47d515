# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control node reads with `cat` while a run goes on."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

SCHEMA_VERSION = 1
# First guess of what a point costs beside fio's own time; replaced by what is seen.
OVERHEAD_S = 0.5
BOOT_S = 10.0
SHOWN = ("rw", "bs", "iodepth", "numjobs")


def correct(directory: RunDirectory, state: str, message: Optional[str]) -> None:
    """Say how a run ended whose executor cannot say it any more."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(directory.progress_path.read_text("utf-8"))
        content.update(state=state, message=message, phase="ended", point=None, current=None)
        atomic_file.write_json(directory.progress_path, content, durable=False)


class Progress:
    """Keeps progress.json true; not flushed to the disk, for a lost one costs nothing."""

    def __init__(
        self, directory: RunDirectory, plan: Mapping[str, Any], todo: Sequence[Mapping[str, Any]]
    ) -> None:
        self._path = directory.progress_path
        self._left_s = {point["id"]: float(point["expected_s"]) for point in todo}
        self._overheads: list[float] = []
        self._boots_left = 0
        self._point_began = time.monotonic()
        self._content: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": directory.run_id,
            "state": "running",
            "point": None,
            "points_total": len(plan["points"]),
            "points_done": len(plan["points"]) - len(todo),
            "points_failed": 0,
            "repetitions": plan["repetitions"],
            "current": None,
            "phase": "starting",
            "message": None,
        }

    def boots_left(self, count: int) -> None:
        """Say how many starts of a guest are still to come; they count in the expected end."""
        self._boots_left = count

    def phase(self, text: str) -> None:
        """Say what is being done that is no point."""
        self._write(phase=text, point=None, current=None)

    def point(self, point: Mapping[str, Any]) -> None:
        """Say which point is measured from now on."""
        self._point_began = time.monotonic()
        fio = {word: point["fio"][word] for word in SHOWN if word in point["fio"]}
        names = ("stack", "workload", "repetition")
        current = {**{name: point[name] for name in names}, "fio": fio}
        self._write(phase="measuring", point=point["id"], current=current)

    def concluded(self, record: Mapping[str, Any]) -> None:
        """Count a point; written with the next point or phase."""
        expected = self._left_s.pop(record["id"], 0.0)
        is_ok = record["state"] == "ok"
        if is_ok:
            self._overheads.append(max(0.0, time.monotonic() - self._point_began - expected))
        self._content["points_done" if is_ok else "points_failed"] += 1

    def end(self, state: str, message: Optional[str]) -> None:
        """Say how the run ended."""
        self._left_s, self._boots_left = {}, 0
        self._write(state=state, phase="ended", point=None, current=None, message=message)

    def _write(self, **changes: Any) -> None:
        now = time.time()
        self._content.update(changes, updated_at=now, expected_end=now + self._remaining_s())
        atomic_file.write_json(self._path, self._content, durable=False)

    def _remaining_s(self) -> float:
        seen = self._overheads or [OVERHEAD_S]
        overhead = sum(seen) / len(seen)
        points_s = sum(self._left_s.values()) + overhead * len(self._left_s)
        return points_s + BOOT_S * self._boots_left
