# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures say what the cells say, in numbers and in words, and trust no name."""

from __future__ import annotations

import json
from typing import Any

import fake_runs
from fake_runs import Lab, fake_run, manifest, row

from nvmelab.show.plots import Figure, Styles, figures
from nvmelab.show.summary import HostSummary, summarise
from nvmelab.store.records import Run


def drawn(runs: list[Run]) -> tuple[HostSummary, dict[str, Figure]]:
    hosts = summarise(runs)
    made = figures(hosts[0], hosts[0].panels[0], Styles(hosts))
    return hosts[0], {figure["kind"]: figure for figure in made}


def trace(figure: Figure, name: str, **more: Any) -> dict[str, Any]:
    found = [t for t in figure["data"] if t["name"] == name]
    (one,) = [t for t in found if all(t.get(key) == value for key, value in more.items())]
    return one


def test_iops_figure_has_median_and_range():
    """The mark stands at the median, the whisker reaches to the least and greatest repetition."""
    host, made = drawn([fake_run(Lab(repetitions=3))])
    (cell,) = [c for c in host.runs[0].cells if c.stack == "virtio-scsi" and c.inflight_count == 16]
    shown = trace(made["iops"], "virtio-scsi")
    assert cell.iops
    assert shown["y"][1] == cell.iops.median
    assert shown["y"][1] + shown["error_y"]["array"][1] == cell.iops.high
    assert shown["y"][1] - shown["error_y"]["arrayminus"][1] == cell.iops.low


def test_every_pointer_text_has_n_spread_and_verdict():
    """What the pointer shows is never a bare number."""
    _, made = drawn([fake_run()])
    for kind in ("iops", "latency"):
        for one in made[kind]["data"]:
            for text in one["customdata"]:
                assert "n=2" in text
                assert "[" in text
                assert "clean" in text or "tainted (tcg)" in text


def test_latency_that_was_not_measured_is_not_drawn():
    """A cell without latency has no mark, rather than one at 0."""
    _, made = drawn([Run.from_parts(manifest(), [row(iops=5.0)])])
    assert [t["y"] for t in made["latency"]["data"]] == [[], []]
    assert "percentiles" not in made


def test_looks_differ_and_stay():
    """Nine stacks: no two share colour, mark and dash; a stack looks the same in every figure."""
    _, made = drawn([fake_run()])
    looks: dict[str, set[str]] = {}
    for figure in made.values():
        for one in figure["data"]:
            look = json.dumps([one["meta"], one["marker"]["symbol"], one["line"]["dash"]])
            looks.setdefault(one["name"], set()).add(look)
    assert len(looks) == len(fake_runs.STACKS)
    assert all(len(of_stack) == 1 for of_stack in looks.values())
    assert len(set.union(*looks.values())) == len(looks)


def test_far_ceilings_wait_in_the_legend():
    """A ceiling far above the stacks does not squeeze them flat; the title says that it waits."""
    _, made = drawn([fake_run()])
    for figure in made.values():
        hidden = {t["name"] for t in figure["data"] if t.get("visible") == "legendonly"}
        assert hidden == {"guest-null", "host-ram-file"}
        assert "guest-null, host-ram-file" in figure["title"]


def test_emulation_is_said_in_every_figure():
    """A figure that is saved as a picture carries the warning with it; a KVM one has none."""
    for lab, expected in ((Lab(), True), (Lab(is_emulated=False), False)):
        _, made = drawn([fake_run(lab)])
        for figure in made.values():
            texts = [note["text"] for note in figure["layout"].get("annotations", ())]
            assert any("do not rank devices" in text for text in texts) is expected


def test_runs_are_told_apart():
    """Two runs of a host: a line each, named with the run's letter, dashed differently."""
    runs = [fake_run(Lab(run_id=run_id)) for run_id in ("1-a", "2-b")]
    _, made = drawn(runs)
    one, other = trace(made["iops"], "virtio-blk · A"), trace(made["iops"], "virtio-blk · B")
    assert one["meta"] == other["meta"]
    assert one["line"]["dash"] != other["line"]["dash"]


def test_names_are_text_not_markup():
    """Plotly reads <a>, <b> and entities in texts: a name that holds them comes out as letters."""
    rows = [row(stack="<a href='https://x.invalid'>&lt;", iops=1.0)]
    _, made = drawn([Run.from_parts(manifest(), rows)])
    text = json.dumps(made["iops"]["data"])
    assert "<a" not in text
    assert "&lt;a href" in text
    assert "&amp;lt;" in text


def test_percentile_curves_end_where_samples_do():
    """No point of a curve has fewer than 100 samples above it."""
    host, made = drawn([fake_run()])
    by_name = {(c.stack, c.inflight_count): c for c in host.runs[0].cells}
    cell = by_name["qemu-nvme", 1]
    last = trace(made["percentiles"], "qemu-nvme", xaxis="x")["x"][-1]
    assert (cell.p50.count or 0) * 10**-last >= 100
