# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress without a terminal: plain lines on standard error, and nothing on standard output."""

from __future__ import annotations

import pytest

from nvmelab.lab.events import Event
from nvmelab.lab.progress import Progress

EVENTS = (
    Event("task", task="Run the plan"),
    Event("task", task="Run the plan"),
    Event("line", text="nvmelab | a | [1/2] point\nsomething else\nnvmelab | b | [1/2] point"),
    Event("line", text="[WARNING]: noise"),
    Event("ok", host="a", action="ansible.builtin.debug", result={"msg": "a: must be rebooted"}),
    Event("ok", host="a", action="ansible.builtin.debug", result={"msg": "a table"[2:]}),
    Event("ok", host="a", action="ansible.builtin.command", result={"msg": "a: no news"}),
    Event("failed", host="a", task="Run the plan", result={"msg": "boom"}, text="fatal: [a]"),
    Event("failed", host="b", task="Try", result={"msg": "never mind"}, is_ignored=True),
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["· Run the plan", "a | [1/2] point", "b | [1/2] point",
              "a: must be rebooted", "a: failed: Run the plan: boom"]),
        ({"brief": True}, ["a | [1/2] point", "b | [1/2] point"]),
        ({"verbose": True}, ["nvmelab | a | [1/2] point", "something else",
                             "nvmelab | b | [1/2] point", "[WARNING]: noise", "fatal: [a]"]),
    ],
)  # fmt: skip
def test_lines(
    options: dict[str, bool], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Tasks once, modules' own lines, what is told of hosts, failures; verbose is all of it."""
    with Progress(**options) as progress:
        for event in EVENTS:
            progress.show(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == expected
