# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of points → a plan; and what is never destroyed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_agent, sweep_plan

DEVICE = "/dev/nvmelab-test-device"  # not there: being below /dev is enough to be careful


def plan_of(*points: dict[str, Any], disposable: list[str] | None = None) -> dict[str, Any]:
    """The plan of these points."""
    return sweep_plan.plan_of(points, run_id="sweep", disposable_devices=disposable or [])


def fio(rw: str = "randread", **more: Any) -> dict[str, Any]:
    """Fio's words."""
    return {"rw": rw, "bs": "4k", **more}


def test_points_keep_their_order_and_get_their_time() -> None:
    """By hand: 2 s and half a second of ramp; a job that its size ends takes who knows how long."""
    timed = fio(time_based=1, runtime=2, ramp_time="500ms")
    found = plan_of({"id": "b", "fio": timed}, {"id": "a", "filename": "/f", "fio": fio()})
    assert [(one["id"], one["filename"]) for one in found["points"]] == [("b", None), ("a", "/f")]
    assert [one["expected_s"] for one in found["points"]] == [2.5, sweep_plan.UNKNOWN_S]


@pytest.mark.parametrize("rw", ["write", "randrw", "trim", "readwrite"])
def test_device_that_is_not_named_is_not_written_to(rw: str) -> None:
    """Whatever changes blocks is refused, naming point, device and the way out."""
    point = {"id": "a", "filename": DEVICE, "fio": fio(rw)}
    with pytest.raises(BadInputError, match=f"point a: rw={rw} would destroy.*{DEVICE}.*name it"):
        plan_of(point)
    assert plan_of(point, disposable=[DEVICE])["points"]


def test_device_by_another_name_is_the_same_device(tmp_path: Path) -> None:
    """A link to a device is no way round, and naming the link names the device."""
    link = tmp_path / "data"
    link.symlink_to(DEVICE)
    point = {"id": "a", "filename": str(link), "fio": fio("write")}
    with pytest.raises(BadInputError, match="would destroy"):
        plan_of(point)
    assert plan_of(point, disposable=[str(link)])["points"]
    assert plan_of(point, disposable=[DEVICE])["points"]


def test_reading_and_files_need_no_name(tmp_path: Path) -> None:
    """A device may be read, a file may be written, also one in RAM."""
    assert plan_of({"id": "a", "filename": DEVICE, "fio": fio()})
    assert plan_of({"id": "a", "filename": str(tmp_path / "f"), "fio": fio("write")})
    assert plan_of({"id": "a", "filename": "/dev/shm/nvmelab-test", "fio": fio("write")})


def test_device_in_use_is_refused_though_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of disposable devices may be wrong about the root disk."""

    def mounted(_: str) -> None:
        raise guest_agent.DeviceError("/dev/x1 is mounted on /")

    monkeypatch.setattr(sweep_plan, "_is_device", lambda _: True)
    monkeypatch.setattr(guest_agent, "refuse_if_in_use", mounted)
    with pytest.raises(BadInputError, match="point a: /dev/x1 is mounted on /; free it first"):
        plan_of({"id": "a", "filename": DEVICE, "fio": fio("write")}, disposable=[DEVICE])


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "found none"),
        ([{"id": "a"}], "point 'a': wanted fio: with at least rw"),
        ([{"id": "a", "fio": {"bs": "4k"}}], "rw"),
        ([{"id": "../a", "fio": fio()}], r"found id '\.\./a'"),
        ([{"fio": fio()}], "found id None"),
        ([{"id": "a", "fio": fio(), "device": "x"}], "found key 'device', wanted only id"),
        ([{"id": "a", "fio": fio(output="/x")}], "output"),
        ([{"id": "a", "fio": fio()}, {"id": "a", "fio": fio()}], "'a' is there more than once"),
    ],
)
def test_points_that_cannot_be_meant_are_refused(points: list[dict[str, Any]], said: str) -> None:
    """Before anything is touched, with the key or point and what was wanted."""
    with pytest.raises(BadInputError, match=said):
        plan_of(*points)


@pytest.mark.parametrize(
    "word", ["filename_format", "opendir", "directory", "unique_filename", "profile"]
)
def test_no_other_word_leads_past_the_guard(word: str) -> None:
    """Fio has several words for which file is meant; all but our own are refused."""
    with pytest.raises(BadInputError, match=word):
        plan_of({"id": "a", "fio": fio("write", **{word: DEVICE})})


def test_depth_that_is_no_number_is_refused_before_anything_runs() -> None:
    """A point is judged by its depth afterwards; what cannot be read then is refused now."""
    with pytest.raises(BadInputError, match="'deep'"):
        plan_of({"id": "a", "fio": fio(iodepth="deep")})
