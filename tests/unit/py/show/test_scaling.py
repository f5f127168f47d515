# SPDX-License-Identifier: GPL-3.0-or-later
"""The scaling view: sums told a device and a core, like with like, never without their spread.

Figures are worked out by hand: a device gives 4 M IOPS, a core 5 M, a guest 16 M at most.
"""

from __future__ import annotations

import io
from typing import Any

import pytest
from fake_runs import stack
from fake_scaling import scaling_run, swept
from rich.console import Console

from nvmelab.show import scaling, scaling_plot
from nvmelab.show.report import render_html
from nvmelab.show.scaling import LineKey, Scaling
from nvmelab.show.summary import RunSummary, summarise
from nvmelab.show.table import render_run
from nvmelab.store.records import Run

CORES = {"malloc": swept(server_cores=[1, 2], devices=[1, 2, 4])}
NULL = {"kind": "bdev_null", "size_mib": 64}


def summary_of(run: Run) -> RunSummary:
    """The one summary of one run."""
    (host,) = summarise([run])
    return host.runs[0]


def only(stacks: dict[str, dict[str, Any]], **more: Any) -> Scaling:
    """The one scaling of a run of these stacks."""
    (found,) = scaling.scalings(summary_of(scaling_run(stacks, **more)))
    return found


def efficiencies(found: Scaling) -> dict[LineKey, list[float]]:
    """Percent by line, in the order of the devices."""
    return {
        key: [one.efficiency.percent for one in points if one.efficiency]
        for key, points in found.lines.items()
    }


def test_iops_a_device_and_a_core_by_hand() -> None:
    """One core: 4, 5, 5 M; two: 4, 8, 10 M. Four devices on one core: 1.25 of 4 M each."""
    found = only(CORES)
    one, two = LineKey(1, 1), LineKey(2, 1)
    assert [point.iops.median for point in found.lines[one]] == [4e6, 5e6, 5e6]
    assert [point.iops.median for point in found.lines[two]] == [4e6, 8e6, 10e6]
    assert [point.per_device for point in found.lines[two]] == [4e6, 4e6, 2.5e6]
    assert [point.per_core for point in found.lines[two]] == [2e6, 4e6, 5e6]
    assert efficiencies(found) == {one: [100, 62.5, 31.25], two: [100, 100, 62.5]}
    assert all(
        point.reference == (key.cores, 1, 1) for key in found.lines for point in found.lines[key]
    )
    assert [found.line_title(key) for key in found.lines] == ["1 core", "2 cores"]
    assert (found.name, found.inflight_count, found.top) == ("malloc", 16, 10e6)


def test_devices_are_those_of_all_guests() -> None:
    """2 x 8 devices on four cores: 20 of 16 M, so 1.25 of 4 M each; the fewest are in one guest."""
    found = only({"malloc": swept(server_cores=4, devices=[2, 8], guests=[1, 2])})
    assert efficiencies(found) == {LineKey(4, 1): [100, 50], LineKey(4, 2): [100, 31.25]}
    assert {point.reference.total for point in found.points} == {2}
    assert [point.size.total for point in found.points] == [2, 8, 4, 16]
    assert [found.line_title(key) for key in found.lines] == ["1 guest", "2 guests"]


def test_where_only_guests_grow_they_are_one_line() -> None:
    """One device in each of 1, 2 and 4 guests is one curve, not three points of three lines."""
    found = only({"malloc": swept(server_cores=2, guests=[1, 2, 4])})
    assert efficiencies(found) == {LineKey(2, None): [100, 100, 62.5]}
    assert found.line_title(LineKey(2, None)) == ""


def test_extremes_of_both_bound_the_efficiency() -> None:
    """6.3 M of two are 75 % of 4.2 M a device; from 3.0 / 4.4 to 3.3 / 4.0."""
    found = only(
        {"malloc": swept(devices=[1, 2])},
        measured={"malloc-d1": (4.2e6, 4.0e6, 4.4e6), "malloc-d2": (6.0e6, 6.3e6, 6.6e6)},
    )
    first, last = found.points
    assert last.efficiency is not None
    assert last.efficiency.percent == pytest.approx(75)
    assert last.efficiency.low_percent == pytest.approx(100 * 3.0 / 4.4)
    assert last.efficiency.high_percent == pytest.approx(82.5)
    assert first.efficiency is not None
    assert (first.efficiency.low_percent, first.efficiency.high_percent) == (100, 100)


def test_without_the_smallest_the_next_is_the_reference() -> None:
    """A size that failed has no point, and nothing is told relative to it."""
    found = only({"malloc": swept(devices=[1, 2, 4])}, measured={"malloc-d1": ()})
    assert [point.size.total for point in found.points] == [2, 4]
    assert {point.reference.total for point in found.points} == {2}
    assert efficiencies(found) == {LineKey(1, 1): [100, 50]}


@pytest.mark.parametrize(
    "change", [{"backend": NULL}, {"engine": {"ioengine": "io_uring"}}, {"driver": "nvme"}]
)
def test_only_stacks_alike_are_one_scaling(change: dict[str, Any]) -> None:
    """Another backend, engine or driver is a curve of its own, whatever the names are."""
    stacks = {"a": swept(devices=[1, 2]), "b": swept(devices=[1, 2], **change)}
    found = scaling.scalings(summary_of(scaling_run(stacks)))
    assert [one.name for one in found] == ["a", "b"]
    by_hand = {"lonely": swept(**change), "small": swept(), "big": swept(devices=4)}
    assert only(by_hand).name == "small, big"


def test_one_size_is_no_scaling() -> None:
    """Nor are two stacks of one size."""
    stacks = {"a": swept(devices=4), "b": swept(devices=4, backend=NULL)}
    assert scaling.scalings(summary_of(scaling_run(stacks))) == []


@pytest.mark.parametrize(
    ("change", "cores"),
    [
        ({}, 1),
        ({"server_cores": 8}, 8),
        ({"server_cpus": "2-3,5"}, 3),
        ({"server": "qemu", "transport": "emulated"}, None),
    ],
)
def test_cores_are_those_that_a_target_polls_on(change: dict[str, Any], cores: int | None) -> None:
    """As asked by number or by list, one if not asked; QEMU itself polls none."""
    assert scaling.size_of({**stack("nvme", server="spdk-nvmf-tgt"), **change}).cores == cores
    assert only({"x": swept(devices=[1, 2], **change)}).points[0].per_core == (
        min(4e6, (change.get("server_cores") or 1) * 5e6) / cores if cores else None
    )


def test_the_figure_has_a_line_each_with_whiskers_and_words() -> None:
    """Colour tells the cores; the pointer gets n, spread, efficiency, and verdict; the dots end."""
    measured = {"malloc-d4-c2": (9e6, 10e6, 12e6)}
    made = scaling_plot.figure(only(CORES, measured=measured), is_emulated=True)
    dots, one, two = made["data"]
    assert (two["name"], two["x"], two["y"]) == ("2 cores", [1, 2, 4], [4e6, 8e6, 10e6])
    assert (two["error_y"]["array"][2], two["error_y"]["arrayminus"][2]) == (2e6, 1e6)
    assert [line["meta"]["style"] for line in (one, two)] == [0, 1]
    told = two["customdata"][2]
    for part in ("malloc-d4-c2", "4 devices, 2 cores", "n=3", "62.5 % of 1's", "5.00 M a core"):
        assert part in told
    assert dots["x"] == [1, 3.3]  # 4 M a device reach 1.1 times the 12 M at 3.3 devices
    assert dots["y"] == pytest.approx([4e6, 13.2e6])
    assert "TCG" in made["layout"]["annotations"][0]["text"]
    assert made["layout"]["xaxis"]["tickvals"] == [1, 2, 4]


def test_the_axis_counts_cores_where_only_they_grow() -> None:
    """One curve over cores, and no proportion to devices."""
    made = scaling_plot.figure(only({"m": swept(server_cores=[1, 2, 4])}), is_emulated=False)
    (line,) = made["data"]
    assert (line["x"], line["y"]) == ([1, 2, 4], [4e6] * 3)
    assert made["title"].endswith("over cores of the target")


def test_numbers_below_the_axis_do_not_touch() -> None:
    """Up to 96 devices 1 and 2 are too near; the greatest is always there."""
    devices = {"m": swept(devices=[1, 2, 4, 24], guests=[1, 4])}
    made = scaling_plot.figure(only(devices), is_emulated=False)
    assert made["layout"]["xaxis"]["tickvals"] == [1, 4, 8, 16, 24, 96]


def test_other_plots_show_the_least_and_the_greatest_size() -> None:
    """Of 72 curves nobody reads one; the scaling has them all."""
    found = [only(CORES)]
    assert scaling.inner_sizes(found) == {
        "malloc-d1-c2", "malloc-d2-c1", "malloc-d2-c2", "malloc-d4-c1",
    }  # fmt: skip


def test_report_and_terminal_show_it() -> None:
    """IOPS, range, n, a device, a core, efficiency with its range, verdict: each line in both."""
    run = scaling_run(CORES, measured={"malloc-d4-c2": (9e6, 10e6, 12e6)})
    page = render_html([run])
    section = page[page.index('<section id="scaling">') :].partition("</section>")[0]
    line = section.partition('title="malloc-d4-c2"')[2].partition("</tr>")[0]
    for part in ("10.0 M", "[9.00–12.0 M]", ">3<", "2.50 M", "62.5 %", "56.2–75.0 %", "clean"):  # noqa: RUF001
        assert part in line, part
    assert "5.00 M" in line
    assert 'href="#scaling"' in page
    assert "the least and the greatest, all are in Scaling" in page
    console = Console(file=io.StringIO(), width=80)
    console.print(render_run([run]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    lines = [" ".join(one.split()) for one in text.replace("\N{EN DASH}", "-").splitlines()]
    assert "4 10.0 M 9.00-12.0 M 3 2.50 M 62.5 % 5.00 M clean" in lines
    assert max(map(len, text.splitlines())) <= 80


def test_names_steer_neither_page_nor_terminal() -> None:
    """Markup and escape sequences of a stack's name come out as letters."""
    run = scaling_run({"\x1b[2J<b>x": swept(devices=[1, 2], server_cores=[1, 2])})
    console = Console(file=io.StringIO(), width=80)
    console.print(render_run([run]))
    assert isinstance(console.file, io.StringIO)
    assert "\x1b" not in console.file.getvalue()
    (found,) = scaling.scalings(summary_of(run))
    texts = [text for one in scaling_plot.figure(found, is_emulated=False)["data"]
             for text in (one["name"], *one.get("customdata", ()))]  # fmt: skip
    assert not any("<b>" in text for text in texts)
