# SPDX-License-Identifier: GPL-3.0-or-later
"""The terminal table: verdict first, complete at 80 columns, and no control characters."""

from __future__ import annotations

import io

import pytest
from fake_host_states import audited, host_state
from fake_runs import Lab, fake_run, manifest, row
from rich.console import Console

from nvmelab.show.table import render_run
from nvmelab.store.records import Run


def shown(runs: list[Run], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render_run(runs))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_verdict_reasons_and_skips_come_first():
    """Before any number: the verdict, why, what was skipped and why, and the warning of TCG."""
    text = shown([fake_run()])
    places = [
        text.index(part)
        for part in ("TAINTED", "no usable KVM", "skipped spdk-vfio-user", "do not rank", "IOPS")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_numbers_are_whole_at_every_sensible_width(width: int):
    """Nothing is cut with an ellipsis; each stack has its n, range, p50, p99 and verdict."""
    text = shown([fake_run(Lab(is_emulated=False))], width)
    assert "…" not in text
    (line,) = [line for line in text.splitlines() if line.startswith(" virtio-scsi")][:1]
    words = line.split()
    assert words[words.index("k") + 1].count("–") == 1  # noqa: RUF001
    assert words[-1] == "clean"
    assert max(map(len, text.splitlines())) <= width


def test_ranked_only_where_ranking_is_honest():
    """Under KVM the fastest is named; under TCG the column is not there."""
    assert "fastest" in shown([fake_run(Lab(is_emulated=False))])
    assert "fastest" not in shown([fake_run()])


def test_failures_are_told_once_a_cause_but_not_all():
    """Each cause stands once, with its points; of many points and causes the rest is counted."""
    causes = ["the guest died"] * 9 + [f"fio ended with status {k}" for k in range(1, 7)]
    failed = [{"id": f"{k:04}", "reason": cause} for k, cause in enumerate(causes, 1)]
    text = shown([Run.from_parts(manifest(state="failed", points_failed=failed), [])], 200)
    assert text.count("the guest died") == 1
    assert "failed points 0001, 0002, 0003, 0004, 0005, 0006 and 3 more: the guest died" in text
    assert "failed point 0010: fio ended with status 1" in text
    assert "fio ended with status 5" not in text
    assert "and for 2 more causes" in text
    assert "no point was measured" in text


def test_remarks_are_told():
    """What was odd but no failure is beside the verdict."""
    found = manifest(remarks=["tgt: killed by SIGSEGV when it was asked to end"])
    assert "remark: tgt: killed by SIGSEGV when" in shown([Run.from_parts(found, [])], 200)


@pytest.mark.parametrize("width", [80, 120])
def test_repetitions_that_stand_out_are_marked(width: int):
    """Below the verdict a letter each repetition, only where one differs; told what they mean."""
    text = shown([audited(fake_run(Lab(is_emulated=False, repetitions=5)))], width)
    lines = text.splitlines()
    marks = [
        line.split()[-1] for line in lines if line.split() and set(line.split()[-1]) <= {*"·!✕"}
    ]
    assert len(marks) == 12  # of 18 cells
    assert all(len(mark) == 5 for mark in marks)
    assert "".join(marks).count("!") == 13
    assert "".join(marks).count("✕") == 1
    assert "! for a reason of its own" in " ".join(text.split())
    assert max(map(len, lines)) <= width
    assert "a mark each repetition" not in shown([fake_run()])


def test_the_hosts_condition_is_told_in_a_line():
    """What was asked and is not in force; the settings by name unless the verdict told them."""
    run = audited(fake_run(Lab()))
    text = " ".join(shown([run], 200).split())
    assert "host audited: 4 of 6 settings are not as asked, 1 changed during the run" in text
    assert "cpupower.boost:" not in text
    run.manifest["verdict"] = {"state": "clean", "reasons": []}
    assert "cpupower.boost: on, asked off" in shown([run], 200)
    run.manifest["host_state"] = {**host_state([]), "before": None}
    assert "host not audited" in shown([run])


def test_names_cannot_steer_the_terminal():
    """Escape sequences and rich's own markup in names come out as harmless letters."""
    run = Run.from_parts(
        manifest(host="\x1b[2Jevil", skips=[{"stack": "[red]x[/]", "reason": "\x07"}]),
        [row(stack="\x1b]0;title\x07", iops=1.0)],
    )
    text = shown([run])
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]x[/]" in text


def test_every_run_has_its_own_head():
    """Two hosts: two heads, by name."""
    text = shown([fake_run(Lab(host="lab-2")), fake_run(Lab(host="lab-1"))])
    assert text.index("on lab-1") < text.index("on lab-2")
