# SPDX-License-Identifier: GPL-3.0-or-later
"""Single points: each repetition has its own verdict, and what sets it apart is told apart."""

from __future__ import annotations

from fake_host_states import HOST_STATE, STEAL, VIRTUAL, audited
from fake_runs import Lab, fake_run, manifest, row

from nvmelab.show import background, points, wording
from nvmelab.show.points import Point
from nvmelab.show.summary import summarise
from nvmelab.store.records import Row, Run


def run_of(*rows: Row, **values: object) -> Run:
    return Run.from_parts(manifest(**values), list(rows))


def judged(number: int, *reasons: str, **values: object) -> Row:
    """Repetition ``number`` of the usual stack."""
    state = "tainted" if reasons else "clean"
    return row(point_id=f"{number:04}", repetition=number, verdict=state, verdict_reasons=reasons,
               iops=100.0 * number, **values)  # fmt: skip


def failed_record(number: int, **values: object) -> dict[str, object]:
    usual = {"id": f"{number:04}", "reason": "fio died", "stack": "virtio-blk", "iodepth": 1,
             "workload": "randread-4k", "repetition": number, "runs_on": "guest",
             "rw": "randread", "bs": "4k", "numjobs": 1}  # fmt: skip
    return {**usual, **values}


def test_what_every_point_has_is_shared_the_rest_is_its_own():
    """Two points with the same taint, one with steal besides: only steal sets it apart."""
    one, other = points.points(run_of(judged(1, VIRTUAL), judged(2, VIRTUAL, STEAL)))
    assert (one.own, one.shared) == ((), (VIRTUAL,))
    assert (other.own, other.shared) == ((STEAL,), (VIRTUAL,))
    assert other.codes == ("steal", "virtual-host")


def test_a_code_that_all_have_is_no_outlier_but_keeps_its_figures():
    """Steal of 2 % here and 9 % there: common background, told in full for each point."""
    run = run_of(judged(1, "steal: 2 %", VIRTUAL), judged(2, "steal: 9 %", VIRTUAL))
    one, other = points.points(run)
    assert one.own == other.own == ()
    assert (one.varying, other.varying) == (("steal: 2 %",), ("steal: 9 %",))
    assert "steal: 9 %" in other.told
    ((_, told),) = background.told_by_place(run)
    assert told == ("steal: with figures of its own at each point", VIRTUAL)


def test_guest_and_host_have_backgrounds_of_their_own():
    """TCG taints every point in the guest and none on the host: it is shared among the former."""
    rows = [judged(1, "tcg: x"), judged(2, "tcg: x"), judged(3, runs_on="host"),
            judged(4, runs_on="host")]  # fmt: skip
    found = points.points(run_of(*rows))
    assert not any(point.own for point in found)
    assert background.told_by_place(run_of(*rows)) == [("every point in a guest", ("tcg: x",))]


def test_a_background_that_all_have_is_told_once():
    """The same reasons in the guest and on the host are those of every point."""
    rows = [judged(k, VIRTUAL, runs_on=where) for k, where in
            ((1, "guest"), (2, "guest"), (3, "host"), (4, "host"))]  # fmt: skip
    assert background.told_by_place(run_of(*rows)) == [("every point", (VIRTUAL,))]


def test_a_lone_point_has_no_background():
    """Of a run's single point everything is its own; one alone at its place has the run's."""
    (point,) = points.points(run_of(judged(1, VIRTUAL)))
    assert point.own == (VIRTUAL,)
    rows = [judged(1, VIRTUAL), judged(2, VIRTUAL), judged(3, VIRTUAL, STEAL, runs_on="host")]
    assert points.points(run_of(*rows))[2].own == (STEAL,)


def test_rows_of_one_point_are_one_point():
    """Directions and jobs of a point are no repetitions; its IOPS are told by direction."""
    both = [row(direction="read", iops=1000.0), row(direction="write", iops=500.0),
            row(direction="sync", iops=None)]  # fmt: skip
    (point,) = points.points(run_of(*both))
    assert len(point.rows) == 3
    assert point.iops == "read 1.00 k, write 500"


def test_a_failed_repetition_keeps_its_place():
    """Of three repetitions the second failed: three badges, in order, on the cell of the others."""
    record = {"failed": [failed_record(2)]}
    (host,) = summarise([run_of(judged(1), judged(3), record=record)])
    (cell,) = host.runs[0].cells
    marks = host.runs[0].points_of(cell)
    assert [point.state for point in marks] == ["clean", "failed", "clean"]
    assert marks[1].own == ("failed: fio died",)
    assert "fio died" in marks[1].told
    assert cell.n == 2


def test_a_failed_point_belongs_to_every_direction():
    """A mixed workload has a cell a direction; the repetition that failed is missing in both."""
    mixed = {"workload": "mixed", "rw": "randrw"}
    rows = [judged(1, direction=direction, **mixed) for direction in ("read", "write")]
    (host,) = summarise([run_of(*rows, record={"failed": [failed_record(2, **mixed)]})])
    run = host.runs[0]
    assert [len(run.points_of(cell)) for cell in run.cells] == [2, 2]


def test_older_records_have_no_place_for_failed_points():
    """Without ``record.failed`` the measured points are shown alone."""
    (host,) = summarise([run_of(judged(1), points_failed=[{"id": "0002", "reason": "x"}])])
    assert [point.state for point in host.runs[0].points] == ["clean"]


def test_anchors_are_unique_over_runs_and_hosts():
    """The same run on two hosts: every point has a target of its own."""
    hosts = summarise([fake_run(Lab(host=name)) for name in ("a", "b")])
    anchors = [point.anchor for host in hosts for run in host.runs for point in run.points]
    assert len(anchors) == len(set(anchors)) == 72


def test_every_cell_finds_its_points():
    """All points of a run belong to exactly one cell each, n of it or more."""
    (host,) = summarise([audited(fake_run(Lab(repetitions=3)))])
    run = host.runs[0]
    assert sum(len(run.points_of(cell)) for cell in run.cells) == len(run.points) == 54
    assert all(len(run.points_of(cell)) == 3 for cell in run.cells)


def mark(state: str, *own: str) -> Point:
    key = points.PointKey("s", "w", "read", "4k", 1, 1)
    return Point("0001", key, 1, "guest", state, own, (), (), "a")


def test_verdicts_in_words():
    """Counted only where repetitions differ; a failed one is never hidden."""
    assert wording.judged([mark("clean"), mark("clean")]) == "clean"
    assert wording.judged([mark("tainted", "x: y")]) == "tainted"
    assert wording.judged([mark("clean"), mark("tainted"), mark("failed")]) == (
        "tainted 1/3, failed 1/3"
    )


def test_marks_in_letters():
    """Nothing where all are alike; else a letter each that needs no colour."""
    assert wording.marks([mark("tainted"), mark("tainted")]) == ""
    assert wording.marks([mark("tainted"), mark("tainted", "steal: 3")]) == "·!"
    assert wording.marks([mark("clean"), mark("failed", "failed: x"), mark("unknown")]) == "✓✕?"


def test_told_names_the_shared_reasons_by_code_only():
    """What stands in the verdict of the run already is not repeated in every badge."""
    first, second, _ = points.points(
        run_of(judged(1, VIRTUAL, HOST_STATE), judged(2, VIRTUAL, HOST_STATE, STEAL),
               judged(3, VIRTUAL, HOST_STATE))
    )[:3]  # fmt: skip
    assert "virtual-host, host-state" in first.told
    assert "is itself a virtual machine" not in first.told
    assert "4.2 %" in second.told
