# SPDX-License-Identifier: GPL-3.0-or-later
"""host_state_request: answers on the control node, without a connection to any host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.nvmelab.bench.plugins.action import host_state_request

DEFAULT = {"cpupower": {"governor": "performance"}, "kernel_cmdline": []}


class Action(host_state_request.ActionModule):  # type: ignore[misc]
    """The plugin with nothing behind it: whatever asks for a connection fails."""

    def __init__(self, **args: object) -> None:
        self._task = SimpleNamespace(args={"default": DEFAULT, **args})


@pytest.fixture(autouse=True)
def _no_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})


def _answer(**args: object) -> dict[str, Any]:
    answer: dict[str, Any] = Action(**args).run(task_vars={"inventory_hostname": "h1"})
    return answer


def test_without_wishes_the_profile_is_audited() -> None:
    """The default mode is audit, and the default wish the profile."""
    assert _answer() == {"changed": False, "tuning": "audit", "asked": DEFAULT}


def test_changes_are_combined() -> None:
    """Mode and changes come back as one whole."""
    found = _answer(tuning=False, changes={"cpupower": {"governor": None}})
    assert found["tuning"] == "off"
    assert found["asked"] == {"cpupower": {"governor": None}, "kernel_cmdline": []}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"tuning": "enforced"}, "h1: nvmelab_tuning: found 'enforced'"),
        ({"changes": {"cpupower": {"governer": "x"}}}, "did you mean 'governor'?"),
    ],
)
def test_bad_input(args: dict[str, Any], said: str) -> None:
    """A refusal names the host and is bad input, exit code 2."""
    found = _answer(**args)
    assert found["failed"]
    assert found["exit_code"] == 2
    assert said in found["msg"]
