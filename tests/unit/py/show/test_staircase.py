# SPDX-License-Identifier: GPL-3.0-or-later
"""The staircase compares like with like, layer on layer, and never a number without its spread."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

import pytest
from fake_runs import manifest, row, stack
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from nvmelab.show import layer_rules, log_scale, staircase
from nvmelab.show.report import render_html
from nvmelab.show.summary import RunSummary, summarise
from nvmelab.show.table import render_run
from nvmelab.store.records import Row, Run

NULL = {"kind": "bdev_null", "size_mib": 1024}
STACKS: dict[str, dict[str, Any]] = {
    "kernel": stack("vfio-user-pci", backend=NULL, server="spdk-nvmf-tgt", driver="nvme"),
    "guest-perf": stack(
        "vfio-user-pci",
        backend=NULL,
        server="spdk-nvmf-tgt",
        driver="uio_pci_generic",
        client="spdk_nvme_perf",
    ),
    "upcie": stack(
        "vfio-user-pci", backend=NULL, server="spdk-nvmf-tgt", driver="uio_pci_generic"
    ),
    "vm-less-fio": stack(
        "none", backend=NULL, server="spdk-nvmf-tgt", runs_on="host", ceiling=True
    ),
    "vm-less": stack(
        "none", backend=NULL, server="spdk-nvmf-tgt", runs_on="host", ceiling=True,
        client="spdk_nvme_perf",
    ),
    "bdev": stack(
        "none", backend=NULL, server="none", runs_on="host", ceiling=True, client="bdevperf"
    ),
}  # fmt: skip
# lat of the repetitions in ns with one I/O in flight, and kIOPS with 16
MEASURED = {
    "bdev": ((40.0, 41.0, 42.0), 22_000),
    "vm-less": ((890.0, 900.0, 880.0), 4_500),
    "vm-less-fio": ((1_200.0, 1_210.0, 1_190.0), 3_000),
    "guest-perf": ((900.0, 905.0, 885.0), 4_400),
    "upcie": ((1_900.0, 1_950.0, 1_850.0), 2_200),
    "kernel": ((9_000.0, 9_100.0, 8_900.0), 800),
}


def rows(names: Iterable[str] = MEASURED, **values: Any) -> list[Row]:
    """The repetitions of these stacks at two depths."""
    made = []
    for name in names:
        latencies, most = MEASURED[name]
        for repetition, latency in enumerate(latencies, 1):
            for depth, iops in ((1, 1e9 / latency), (16, most * 1000 + repetition)):
                usual = {
                    "point_id": f"{name}-{depth}-{repetition}", "stack": name, "bs": "512",
                    "repetition": repetition, "iodepth": depth, "iops": iops,
                    "lat_mean_ns": latency if depth == 1 else 16e9 / iops,
                    "runs_on": STACKS[name]["runs_on"],
                    "client": STACKS[name].get("client", "fio"),
                }  # fmt: skip
                made.append(row(**{**usual, **values}))
    return made


def run_of(made: list[Row], stacks: dict[str, dict[str, Any]] | None = None, **more: Any) -> Run:
    """A run that measured these rows."""
    record = {"schema_version": 2, "experiment": {"name": "x", "stacks": stacks or STACKS}}
    return Run.from_parts(manifest(record=record, **more), made)


def summary_of(run: Run) -> RunSummary:
    """The one summary of one run."""
    (host,) = summarise([run])
    return host.runs[0]


def only(run: Run) -> staircase.Staircase:
    """The run's one staircase."""
    (found,) = staircase.staircases(summary_of(run))
    return found


def groups(names: Iterable[str], stacks: dict[str, dict[str, Any]] | None = None) -> Any:
    """(what they are compared with, the siblings) of the staircase of these stacks."""
    stairs = only(run_of(rows(names), stacks))
    return [(one.over, [layer.stack for layer in one.layers]) for one in stairs.siblings]


def test_layers_stand_in_order_siblings_beside_each_other() -> None:
    """From the bdev to the guest, whatever the experiment's order; same client where there is."""
    assert groups(MEASURED) == [
        (None, ["bdev"]),
        ("bdev", ["vm-less-fio", "vm-less"]),
        ("vm-less-fio", ["kernel", "upcie"]),
        ("vm-less", ["guest-perf"]),
    ]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        # No client alike: all stand on the one that is there.
        (["kernel", "upcie", "guest-perf", "vm-less"], [["kernel", "guest-perf", "upcie"]]),
        # Nothing of the target alone: on the backend.
        (["kernel", "guest-perf", "bdev"], [["kernel", "guest-perf"]]),
    ],
)
def test_siblings_stand_on_what_was_measured(names: list[str], wanted: list[list[str]]) -> None:
    """One guest's stack never stands on another's."""
    assert [layers for over, layers in groups(names) if over] == wanted


@pytest.mark.parametrize(
    ("change", "over"),
    [
        ({}, "vm-less-fio"),
        # The client goes before the target's way to work.
        ({"server_interrupt_mode": True}, "vm-less-fio"),
        ({"client": "spdk_nvme_perf", "server_interrupt_mode": True}, "vm-less-interrupt"),
        ({"client": "spdk_nvme_perf", "server_cores": 1}, "vm-less"),
        ({"client": "spdk_nvme_perf"}, "vm-less"),
        # Another transport has no client without a guest: on the backend itself.
        ({"server": "spdk-vhost", "transport": "vhost-user"}, "bdev"),
    ],
)
def test_the_base_is_chosen_by_what_the_stacks_are(change: dict[str, Any], over: str) -> None:
    """The same kind of target and transport; then the client, then the target's way to work."""
    twin = {**STACKS["vm-less"], "server_interrupt_mode": True}
    others = {"vm-less-interrupt": twin, **STACKS, "kernel": {**STACKS["kernel"], "server": "qemu"}}
    assert layer_rules.base_of({**STACKS["upcie"], **change}, others) == over


def test_a_backend_stands_on_nothing() -> None:
    """Nor does a guest where only guests were measured."""
    assert layer_rules.base_of(STACKS["bdev"], STACKS) is None
    assert layer_rules.base_of(STACKS["kernel"], {"upcie": STACKS["upcie"]}) is None


@pytest.mark.parametrize(
    ("name", "change", "wanted"),
    [
        ("bdev", {}, "bdevperf"),
        ("kernel", {}, "fio libaio, kernel's nvme"),
        ("upcie", {"server_interrupt_mode": True},
         "fio libaio, uio_pci_generic, target in interrupt mode"),
        ("guest-perf", {"server_cores": 2},
         "spdk_nvme_perf, uio_pci_generic, target on 2 cores"),
    ],
)  # fmt: skip
def test_what_sets_siblings_apart_is_told(name: str, change: dict[str, Any], wanted: str) -> None:
    """Client, engine, driver, and a target that is unlike others."""
    assert layer_rules.driven_by({**STACKS[name], **change}, "libaio") == wanted


def test_costs_are_differences_of_medians_with_their_extremes() -> None:
    """890 - 41 ns over the bdev; from 880 - 42 to 900 - 40; three repetitions each."""
    by_name = {one.stack: one for one in only(run_of(rows())).layers}
    cost = by_name["vm-less"].cost
    assert cost is not None
    assert (cost.ns, cost.low_ns, cost.high_ns) == (849.0, 838.0, 860.0)
    assert (cost.n, cost.n_below, cost.state) == (3, 3, "apart")
    assert staircase.cost_text(cost) == "+849 ns"
    assert staircase.cost_range(cost) == "[+838 ns to +860 ns]"
    assert by_name["bdev"].cost is None


def test_a_difference_within_the_noise_is_none() -> None:
    """885 to 905 ns on 880 to 900 ns: the ranges overlap, so no cost is told."""
    layer = next(one for one in only(run_of(rows())).layers if one.stack == "guest-perf")
    assert layer.cost is not None
    assert layer.cost.state == "none"
    assert staircase.cost_text(layer.cost) == "no difference shown"


def test_a_single_repetition_tells_no_spread() -> None:
    """That n is 1 is said beside the number."""
    first = [one for one in rows(["bdev", "vm-less"]) if one.repetition == 1]
    (_, layer) = only(run_of(first)).layers
    assert staircase.cost_text(layer.cost) == "+850 ns (n=1: spread unknown)"
    assert staircase.cost_range(layer.cost) == ""


def test_shares_are_of_the_layer_below_and_of_the_first() -> None:
    """4.5 of 22 M IOPS are 20.5 %; what was not measured has no share."""
    stairs = only(run_of(rows()))
    by_name = {one.stack: one for one in stairs.layers}
    share = by_name["vm-less"].share(16, stairs.layers[0])
    assert share is not None
    assert share.percent == pytest.approx(100 * 4.5 / 22, rel=1e-4)
    assert staircase.share_text(share) == "20.5 %"
    assert by_name["vm-less"].share(64, stairs.layers[0]) is None
    assert stairs.depths == [1, 16]


@pytest.mark.parametrize(
    "change",
    [
        {"backend": {"kind": "bdev_malloc", "size_mib": 1024}},
        {"backend": {"kind": "bdev_null", "size_mib": 64}},
        {"backend": {"kind": "none"}},
        {"devices": 2},
        {"guests": 2},
    ],
)
def test_another_backend_stands_on_another_staircase(change: dict[str, Any]) -> None:
    """Never are different bdevs compared, nor one device with several."""
    stacks = {**STACKS, "vm-less": {**STACKS["vm-less"], **change}}
    assert staircase.staircases(summary_of(run_of(rows(["bdev", "vm-less"]), stacks))) == []
    kept = only(run_of(rows(["bdev", "vm-less", "kernel"]), stacks))
    assert [one.stack for one in kept.layers] == ["bdev", "kernel"]


def test_another_block_size_stands_on_another_staircase() -> None:
    """As another workload does."""
    made = [*rows(["bdev"]), *rows(["vm-less"], bs="4k")]
    assert staircase.staircases(summary_of(run_of(made))) == []


def test_layers_of_one_step_are_no_staircase() -> None:
    """Nothing is below, so nothing is added."""
    assert staircase.staircases(summary_of(run_of(rows(["vm-less", "vm-less-fio"])))) == []


def test_the_verdict_is_the_worst_of_both_layers() -> None:
    """A cost is as trustworthy as the worse of what it is made from."""
    made = [*rows(["bdev"], verdict="tainted", verdict_reasons=("steal: 3 %",)), *rows(["vm-less"])]
    assert [one.verdict for one in only(run_of(made)).layers] == ["tainted (steal)"] * 2


def test_a_depth_that_failed_leaves_a_gap() -> None:
    """Without the layer's own I/O alone there is no cost, and no zero."""
    made = [one for one in rows(["bdev", "vm-less"]) if (one.stack, one.iodepth) != ("vm-less", 1)]
    (_, layer) = only(run_of(made)).layers
    assert (layer.latency, layer.cost) == (None, None)
    assert staircase.cost_text(layer.cost) == "–"  # noqa: RUF001


latencies = st.lists(st.floats(10, 1e6), min_size=1, max_size=7)


@given(one=latencies, other=latencies)
@settings(deadline=None)
def test_a_cost_lies_within_its_extremes(one: list[float], other: list[float]) -> None:
    """And the other way round it is the same with the other sign."""

    def cost(upper: list[float], lower: list[float]) -> staircase.Cost:
        made = [
            row(stack=name, point_id=f"{name}-{k}", lat_mean_ns=value, iops=1.0, bs="512")
            for name, values in (("vm-less", upper), ("bdev", lower))
            for k, value in enumerate(values)
        ]
        found = only(run_of(made)).layers[1].cost
        assert found is not None
        return found

    there, back = cost(one, other), cost(other, one)
    assert there.low_ns <= there.ns <= there.high_ns
    assert (there.n, there.n_below) == (len(one), len(other))
    assert back.ns == -there.ns
    assert (back.low_ns, back.high_ns) == (-there.high_ns, -there.low_ns)
    assert back.state == there.state


@pytest.mark.parametrize(
    ("values", "ends", "decades"),
    [
        ((332.0, 2.02e6), (100.0, 1e7), [20, 40, 60, 80]),
        ((40.0,), (10.0, 100.0), []),
        ((100.0,), (100.0, 1000.0), []),
        ((), (1.0, 10.0), []),
    ],
)
def test_bars_lie_on_whole_decades(
    values: tuple[float, ...], ends: tuple[float, float], decades: list[float]
) -> None:
    """332 ns to 2.02 ms need 100 ns to 10 ms, five decades."""
    scale = log_scale.around(values)
    assert scale == ends
    assert scale.decades == pytest.approx(decades)


def test_a_place_on_the_scale_is_by_its_logarithm() -> None:
    """From 1 to 100 lies 10 in the middle; what is outside is at the end."""
    scale = log_scale.LogScale(1, 100)
    assert [scale.percent(value) for value in (0, 1, 10, 100, 1000)] == pytest.approx(
        [0, 0, 50, 100, 100]
    )


def test_report_and_terminal_show_it_with_n_spread_unit_and_verdict() -> None:
    """Each line has median, range, n, cost with its range, and verdict; siblings what is below."""
    run = run_of(rows())
    page = render_html([run])
    section = page[page.index('<section id="staircase">') :].partition("</section>")[0]
    for part in ("890 ns", "[880–900 ns]", "+849 ns", "[+838 ns to +860 ns]", "20.5 %", "clean"):  # noqa: RUF001
        assert part in section, part
    bare = re.sub(r"<i [^>]*></i>", "", section)
    assert bare.count("in a guest, over vm-less-fio") == 2  # a table of latencies, one of IOPS
    assert bare.count("fio libaio, uio_pci_generic") == 1
    assert 'href="#staircase"' in page
    console = Console(file=io.StringIO(), width=80)
    console.print(render_run([run]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    (line,) = [one for one in text.splitlines() if one.strip().startswith("vm-less ")]
    wanted = "vm-less 890 ns 880-900 ns 3 +849 ns 20.5 % clean"
    assert line.replace("\N{EN DASH}", "-").split() == wanted.split()
    lines = [one.rstrip() for one in text.splitlines()]
    assert lines.index("  over vm-less-fio") < lines.index("  over vm-less")
    assert max(map(len, lines)) <= 80


def test_a_workload_without_one_in_flight_tells_iops_alone() -> None:
    """No column of latencies that were not measured, neither in the report nor in the terminal."""
    run = run_of([one for one in rows() if one.iodepth != 1])
    page = render_html([run])
    section = page[page.index('<section id="staircase">') :].partition("</section>")[0]
    assert "cost an I/O" not in section
    assert "IOPS at depth" in section
    console = Console(file=io.StringIO(), width=80)
    console.print(render_run([run]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    text = text[text.index("staircase: ") :]
    assert "lat mean" not in text
    (line,) = [one for one in text.splitlines() if one.strip().startswith("vm-less ")]
    assert line.split()[-2:] == ["%", "clean"]
    assert "IOPS" in text


def fio_null(runs_on: str, *latencies: float, **values: Any) -> tuple[dict[str, Any], list[Row]]:
    """A stack of fio's null engine, and its repetitions with one I/O in flight."""
    made = stack("none", backend={"kind": "none"}, server="none", runs_on=runs_on, ceiling=True)
    usual = {"stack": "fio-null", "bs": "512", "runs_on": runs_on, "ioengine": "null", "iodepth": 1}
    found = [
        row(**{**usual, "point_id": f"n{k}", "repetition": k, "lat_mean_ns": ns, **values})
        for k, ns in enumerate(latencies, 1)
    ]
    return made, found


@pytest.mark.parametrize(("runs_on", "where"), [("guest", "in the guest"), ("host", "on the host")])
def test_fios_null_engine_is_told_below_the_layers(runs_on: str, where: str) -> None:
    """It is no layer, and changes none; report and terminal tell it with n, spread and verdict."""
    made, found = fio_null(runs_on, 95.0, 90.0, 110.0)
    run = run_of([*rows(), *found], {**STACKS, "fio-null": made})
    told = (
        f"fio's null engine {where} (fio-null): 95.0 ns [90.0\N{EN DASH}110 ns] an I/O alone, n=3, "
    )
    stairs = only(run)
    assert [one.stack for one in stairs.layers] == [
        one.stack for one in only(run_of(rows())).layers
    ]
    assert list(map(str, stairs.fio_alone)) == [told + "clean"]
    console = Console(file=io.StringIO(), width=80)
    console.print(render_run([run]))
    assert isinstance(console.file, io.StringIO)
    assert told + "clean" in " ".join(console.file.getvalue().split())
    page = render_html([run])
    section = page[page.index('<section id="staircase">') :].partition("</section>")[0]
    assert told in section.replace("&#39;", "'")


@pytest.mark.parametrize("change", [{"bs": "4k"}, {"iodepth": 16}, {"ioengine": "libaio"}])
def test_another_workload_of_the_null_engine_is_not_told(change: dict[str, Any]) -> None:
    """Nor what is another engine: only the same I/Os, one at a time, compare."""
    made, found = fio_null("guest", 95.0, **change)
    run = run_of([*rows(), *found], {**STACKS, "fio-null": made})
    assert [one.fio_alone for one in staircase.staircases(summary_of(run))] == [()]


def test_a_run_without_a_staircase_has_no_section() -> None:
    """Neither section nor link nor table; of scaling neither, where there is one size."""
    page = render_html([run_of(rows(["kernel"]))])
    assert "#staircase" not in page
    assert '<section id="staircase">' not in page
    assert '#scaling"' not in page
    assert "Scaling" not in page
