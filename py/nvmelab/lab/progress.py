# SPDX-License-Identifier: GPL-3.0-or-later
"""What is going on, on standard error: lines that stay, and on a terminal one that moves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from nvmelab.commands import console
from nvmelab.lab.events import reason_of

if TYPE_CHECKING:
    from rich.status import Status

    from nvmelab.lab.events import Event

# The modules of the collection say their progress in lines that begin like this.
PREFIX = "nvmelab | "


class Progress:
    """Shows events as they come; a context manager, because a terminal must be left tidy."""

    def __init__(self, *, verbose: bool = False, brief: bool = False) -> None:
        """``brief`` leaves out the lines that stay: for what ends in a second with a table."""
        self._verbose = verbose
        self._brief = brief
        self._status: Status | None = None
        self._task = ""
        self._of_host: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start the moving line, if standard error is a terminal."""
        if sys.stderr.isatty() and not self._verbose:
            from rich.console import Console  # noqa: PLC0415
            from rich.status import Status  # noqa: PLC0415

            # Few pictures a second: on a lab of one they take from what is measured.
            self._status = Status(
                "starting Ansible", console=Console(stderr=True), refresh_per_second=4
            )
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the moving line away."""
        if self._status:
            self._status.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        if self._verbose:
            if event.text:
                console.err(event.text)
        elif event.kind == "task":
            self._show_task(event.task)
        elif event.kind == "line":
            for line in event.text.splitlines():
                if line.startswith(PREFIX):
                    self._show_host(line.removeprefix(PREFIX))
        elif event.kind == "ok" and (told := _told(event)):
            self._stay(told)
        elif event.kind in ("failed", "unreachable") and not event.is_ignored:
            self._stay(f"{event.host}: {event.kind}: {reason_of(event)}")

    def _show_task(self, task: str) -> None:
        if task == self._task:
            return
        self._task = task
        self._of_host.clear()
        if self._status:
            self._update()
        elif not self._brief:
            console.err(f"· {task}")

    def _show_host(self, line: str) -> None:
        """Show ``host | text``: the last text of each host on a terminal, else every one."""
        if self._status:
            host, _, text = line.partition(" | ")
            self._of_host[host] = text
            self._update()
        else:
            console.err(line)

    def _stay(self, line: str) -> None:
        if self._brief:
            return
        if self._status:
            self._status.console.print(line, markup=False, highlight=False)
        else:
            console.err(line)

    def _update(self) -> None:
        from rich.text import Text  # noqa: PLC0415

        lines = [self._task, *(f"  {host}: {text}" for host, text in self._of_host.items())]
        if self._status:
            self._status.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"))


def _told(event: Event) -> str:
    """Return a debug message that is about its host: it begins with the host's name."""
    message = (event.result or {}).get("msg")
    is_told = event.action == "ansible.builtin.debug" and isinstance(message, str)
    return str(message) if is_told and str(message).startswith(event.host) else ""
