# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows become cells: nothing counted twice, nothing averaged that must not be."""

from __future__ import annotations

import fake_runs
from fake_runs import manifest, row

from nvmelab.show import ranking
from nvmelab.show.summary import Cell, bs_bytes, summarise
from nvmelab.store.records import Histograms, Row, Run


def only_cell(rows: list[Row], histograms: Histograms | None = None) -> Cell:
    (host,) = summarise([Run.from_parts(manifest(), rows, histograms)])
    (cell,) = host.runs[0].cells
    return cell


def two(first: float, second: float, **values: object) -> list[Row]:
    """Two repetitions of one stack."""
    return [
        row(point_id=f"{values.get('stack', 'x')}-{k}", repetition=k, iops=iops, **values)
        for k, iops in ((1, first), (2, second))
    ]


def test_repetitions_make_one_cell():
    """Two repetitions: n is 2, the median lies between."""
    cell = only_cell(two(100, 200))
    assert cell.n == 2
    assert cell.iops
    assert (cell.iops.median, cell.iops.low, cell.iops.high) == (150, 100, 200)


def test_jobs_of_a_point_are_summed_not_taken_for_repetitions():
    """Two rows of one point are jobs that ran at once: their IOPS add up, n stays 1."""
    cell = only_cell(
        [row(iops=100, numjobs=2, clat_p99_ns=5), row(iops=50, numjobs=2, clat_p99_ns=9)]
    )
    assert cell.n == 1
    assert cell.iops
    assert cell.iops.median == 150
    assert cell.inflight_count == 2
    assert cell.p99.value_ns is None  # two percentiles are not one


def test_a_job_without_iops_leaves_the_sum_unknown():
    """A sum with a part missing is not measured, not smaller."""
    assert only_cell([row(iops=100), row(iops=None)]).iops is None


def test_percentiles_come_from_merged_histograms():
    """900 I/Os at 10 ns and 900 of which 100 at 1000: p50 is 10, p95 is of the merged tail.

    The average of the repetitions' p95 (10 and 1000) would be 505.
    """
    histograms: Histograms = {
        ("x-1", "read", "clat"): [(10, 900)],
        ("x-2", "read", "clat"): [(10, 800), (1000, 100)],
    }
    cell = only_cell(two(1, 1), histograms)
    assert (cell.p50.value_ns, cell.p50.count, cell.p50.n) == (10, 1800, 2)
    curve = dict(cell.curve)
    assert curve[94] == 10  # 1700 of 1800 are 94.4 %
    assert 95 not in curve  # only 90 samples lie above


def test_a_percentile_that_few_samples_carry_is_marked_then_dropped():
    """2000 samples leave 20 above p99: weak; 500 leave 5: not shown."""
    weak = only_cell([row(iops=1)], {("0001", "read", "clat"): [(7, 2000)]}).p99
    assert (weak.value_ns, weak.is_weak) == (7, True)
    none = only_cell([row(iops=1)], {("0001", "read", "clat"): [(7, 500)]}).p99
    assert (none.value_ns, none.low_ns) == (None, None)


def test_without_histograms_several_repetitions_give_a_range_only():
    """What fio printed for a single repetition is kept; two are never made into one."""
    assert only_cell([row(iops=1, clat_p99_ns=5)]).p99.value_ns == 5
    rows = [row(point_id=str(k), iops=1, clat_p99_ns=k) for k in (5, 9)]
    both = only_cell(rows).p99
    assert (both.value_ns, both.low_ns, both.high_ns, both.n) == (None, 5, 9, 2)


def test_not_measured_stays_none():
    """A row without latencies gives no latency, not zero."""
    cell = only_cell([row(iops=1)])
    assert cell.mean_ns is None
    assert cell.p50.value_ns is None
    assert cell.curve == ()


def test_one_tainted_repetition_taints_the_cell():
    """The worst verdict of the points is the cell's, with the reasons."""
    rows = [row(), row(point_id="0002", verdict="tainted", verdict_reasons=("steal: 3 %",))]
    cell = only_cell(rows)
    assert cell.verdict == "tainted"
    assert cell.reasons == ("steal: 3 %",)
    assert only_cell([row(), row(point_id="2", verdict=None)]).verdict == "unknown"


def test_cells_follow_the_experiment_with_ceilings_last():
    """Order is the experiment's, not the alphabet's nor the run's."""
    (host,) = summarise([fake_runs.fake_run()])
    shown = [cell.stack for cell in host.runs[0].cells if cell.inflight_count == 1]
    assert shown == list(fake_runs.STACKS)
    assert host.runs[0].ceilings == ("guest-null", "host-ram-file")


def test_runs_are_grouped_by_host_and_labelled_alike():
    """One label a run id, on every host; none when there is one run."""
    labs = [("b", "2-y"), ("a", "2-y"), ("a", "1-x")]
    runs = [Run.from_parts(manifest(host=host, run_id=run), []) for host, run in labs]
    hosts = summarise(runs)
    assert [(h.host, [r.label for r in h.runs]) for h in hosts] == [("a", ["A", "B"]), ("b", ["B"])]
    assert summarise(runs[:1])[0].runs[0].label == ""


def test_emulation_is_seen_from_accelerator_or_reason():
    """Either the capabilities or the verdict say TCG; a host without a guest emulates nothing."""
    by_host = manifest(capabilities={"accelerator": {"name": "tcg"}})
    by_verdict = manifest(verdict={"state": "tainted", "reasons": [fake_runs.TCG]})
    guest_row, host_row = row(runs_on="guest"), row(runs_on="host")
    for values, rows in ((by_host, [guest_row]), (by_verdict, [])):
        assert summarise([Run.from_parts(values, rows)])[0].runs[0].is_emulated
    assert not summarise([Run.from_parts(by_host, [host_row])])[0].runs[0].is_emulated
    assert not summarise([Run.from_parts(manifest(), [])])[0].runs[0].is_emulated


def test_block_sizes_sort_by_size():
    """4k, 16k, 1m: by bytes, not by letters; what cannot be read comes first."""
    assert sorted(["1m", "16k", "4k", "512", "?"], key=bs_bytes) == ["?", "512", "4k", "16k", "1m"]
    assert bs_bytes("4KiB,8k") == 4096


def standings(rows: list[Row], **values: object) -> dict[str, ranking.Standing]:
    stacks = {name: {"ceiling": name == "ceiling"} for name in {row.stack for row in rows}}
    record = {"experiment": {"stacks": stacks}}
    (host,) = summarise([Run.from_parts(manifest(record=record, **values), rows)])
    (depth,) = ranking.depths(host.runs[0], host.panels[0])
    return {standing.cell.stack: standing for standing in depth.standings}


def test_rank_is_shared_where_no_difference_is_shown():
    """Ranges of a and b overlap, c is apart from both: 1, 1, 3."""
    rows = two(100, 110, stack="a") + two(98, 105, stack="b") + two(50, 52, stack="c")
    found = standings(rows)
    assert {name: s.rank for name, s in found.items()} == {"a": 1, "b": 1, "c": 3}
    assert found["a"].is_best
    assert found["b"].to_best
    assert ranking.difference_text(found["b"].to_best) == ranking.NO_DIFFERENCE
    assert found["c"].to_best
    assert ranking.difference_text(found["c"].to_best) == "\N{MINUS SIGN}51 %"


def test_nothing_is_ranked_under_emulation_nor_from_one_repetition():
    """TCG and n = 1 give no rank and no difference, however far the numbers are apart."""
    rows = two(100, 110, stack="a") + two(50, 52, stack="c")
    tcg = standings(rows, verdict={"state": "tainted", "reasons": [fake_runs.TCG]})
    single = standings([row(stack="a", iops=9), row(stack="b", iops=1, point_id="2")])
    for found in (*tcg.values(), *single.values()):
        assert found.rank is None
        assert found.to_best is None


def test_share_of_a_ceiling_with_its_extremes():
    """50 of 200 is 25 %; the extremes are 40/220 and 60/180. A ceiling has no share and no rank."""
    found = standings(two(40, 60, stack="a") + two(180, 220, stack="ceiling"))
    (share,) = found["a"].shares
    assert (share.percent, round(share.low_percent, 1), round(share.high_percent, 1)) == (
        25,
        18.2,
        33.3,
    )
    assert found["ceiling"].shares == ()
    assert found["ceiling"].rank is None
