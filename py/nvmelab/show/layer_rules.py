# SPDX-License-Identifier: GPL-3.0-or-later
"""On what each layer of a staircase stands: from what the stacks are, never from their names. Pure.

A stack is given as the resolved experiment holds it. Nothing in a guest stands on anything else in
a guest: all ways into the same device, by whatever driver or client, are siblings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    Stack = Mapping[str, Any]
    Stacks = Mapping[str, Stack]

# From the bottom: what a layer of this step has that those below have not.
STEPS = ("backend alone", "storage target, no guest", "in a guest")
BACKEND, TARGET, GUEST = range(3)
# What makes one of several on a step the base, the foremost first, and what is so unless said.
_ALIKE: Mapping[str, Any] = {"client": "fio", "server_interrupt_mode": False, "server_cores": 1}


def step_of(stack: Stack) -> int:
    """Return which of :data:`STEPS` a stack is."""
    if stack.get("runs_on") != "host":
        return GUEST
    return BACKEND if stack.get("server", "none") == "none" else TARGET


def base_of(stack: Stack, others: Stacks) -> str | None:
    """Return the name of the one among stacks on the same backend that this one stands on.

    On the nearest lower step: a target's client without a guest only where it is the same kind of
    target and transport. Of several there the one with the same client, then with a target that
    works alike (interrupt mode, cores), then the first.
    """
    step = step_of(stack)
    fitting = {
        name: step_of(one)
        for name, one in others.items()
        if step_of(one) < step and (step_of(one) == BACKEND or _served_by(one) == _served_by(stack))
    }
    # The foremost of equals: the first in the experiment.
    return max(
        fitting,
        key=lambda name: (fitting[name], *_likeness(stack, others[name])),
        default=None,
    )


def driven_by(stack: Stack, ioengine: str | None) -> str:
    """Return what sets a layer apart from its siblings: ``"fio io_uring, kernel's nvme"``."""
    client = str(stack.get("client", "fio"))
    driver = str(stack.get("driver", "none"))
    words = [f"{client} {ioengine}" if client == "fio" and ioengine else client]
    if driver != "none":
        words.append(driver if driver in USER_SPACE_DRIVERS else f"kernel's {driver}")
    if stack.get("server_interrupt_mode"):
        words.append("target in interrupt mode")
    if (cores := stack.get("server_cores") or 1) > 1:
        words.append(f"target on {cores} cores")
    return ", ".join(words)


def _served_by(stack: Stack) -> tuple[Any, Any]:
    return stack.get("server", "none"), stack.get("transport", "none")


def _likeness(one: Stack, other: Stack) -> tuple[bool, ...]:
    return tuple(
        (one.get(key) or usual) == (other.get(key) or usual) for key, usual in _ALIKE.items()
    )
