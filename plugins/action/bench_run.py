# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node's side of bench_run: starts, looks on, tells, and stops when told to.

A look is one shell command over the open connection, never a module: a module a second on the
lab host would be in the numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import time
from typing import Any, Iterator, Mapping, Optional

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

MODULE = "nvmelab.bench.bench_run"
# How long a run may be silent at its beginning, and a stopped one at its end.
FIRST_WORD_S = 60.0
STOP_WATCH_S = 15.0
# Ctrl-C reaches a worker as SIGINT and, at once, as SIGTERM (worker_shutdown_poll_count is 0);
# ansible-playbook then waits for its workers' end. A later signal means what it says.
SAME_WISH_S = 3.0
TICK_S = 0.2
ENDS = " · ends about "
UNREACHABLE_S = 120.0


class ActionModule(ActionBase):
    """Waits for a run on one host."""

    _requires_connection = True
    TRANSFERS_FILES = False

    def run(
        self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None
    ) -> dict[str, Any]:
        """Return the module's result; failed when the run did not end complete."""
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        args = dict(self._task.args)
        with wish_to_stop() as wish:
            answer = self._module(args)
            is_watched = str(args.get("state", "started")) == "started" and not answer.get("failed")
            if not is_watched or self._task.check_mode or not _truth(args.get("wait", True)):
                return answer
            if answer.get("pid"):
                self._watch(answer, args, wish)
                if wish:
                    wish.follow()
            return self._result(args, answer)

    def _result(self, args: Mapping[str, Any], started: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._module(_told(args, "result"))
        answer["changed"] = started["changed"]
        failure = answer.pop("failure", None)
        if failure and not answer.get("failed"):
            answer.update(failed=True, msg=f"{self._host()}: {failure}")
        if not answer.get("failed"):
            self._say(ending_line(answer["run"]))
        return answer

    def _watch(self, started: Mapping[str, Any], args: Mapping[str, Any], wish: Wish) -> None:
        """Return when the run has ended; renews its lease until then."""
        patience_s = float(args.get("lease_s") or 0) or UNREACHABLE_S
        seen = _Seen()
        while True:
            look = self._look(started, patience_s, seen)
            if look is not None:
                if look.line and look.what != seen.what:
                    self._say(look.line)
                    seen.what = look.what
                if look.has_ended:
                    return
                if look.is_orphaned:
                    self._module(_told(args, "stopped"))
                    return
            if not wish.wait(float(args.get("poll_s", 2))):
                continue
            self._stop(started)
            return

    def _look(self, started: Mapping[str, Any], patience_s: float, seen: _Seen) -> Optional[Look]:
        try:
            done = self._low_level_execute_command(look_command(started))
        except AnsibleConnectionFailure as error:
            if time.monotonic() - seen.answered > patience_s:
                raise
            if seen.what != "unreachable":
                self._say(f"cannot be reached, trying again: {error}")
                seen.what = "unreachable"
            return None
        look = read_look(done["stdout"]) if done["rc"] == 0 else None
        if look:
            seen.answered = time.monotonic()
        elif time.monotonic() - seen.answered > FIRST_WORD_S:
            return Look(line="", has_ended=False, is_orphaned=True)
        return look

    def _stop(self, started: Mapping[str, Any]) -> None:
        """Ask the executor to stop, and look on for as long as we may live."""
        with contextlib.suppress(Exception):  # the lease does it when this cannot
            place = shlex.quote(started["run_directory"])
            self._low_level_execute_command(f"echo 'stopped from the control node' > {place}/stop")
            self._say("stopping; what was measured is kept")
            deadline = time.monotonic() + STOP_WATCH_S
            while time.monotonic() < deadline:
                done = self._low_level_execute_command(look_command(started))
                look = read_look(done["stdout"]) if done["rc"] == 0 else None
                if look and (look.has_ended or look.is_orphaned):
                    return
                time.sleep(TICK_S)

    def _module(self, args: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=dict(args), task_vars=self._task_vars
        )
        return answer

    def _host(self) -> str:
        return str(self._task_vars.get("inventory_hostname", "?"))

    def _say(self, text: str) -> None:
        Display().display(f"nvmelab | {self._host()} | {text}")


class _Seen:
    """What the looks have shown so far."""

    def __init__(self) -> None:
        self.what = ""
        self.answered = time.monotonic()


class Look:
    """What one look has shown."""

    def __init__(self, *, line: str, has_ended: bool, is_orphaned: bool) -> None:
        self.line = line
        self.what = line.partition(ENDS)[0]  # the expected end alone is no news
        self.has_ended = has_ended
        self.is_orphaned = is_orphaned


class Wish:
    """Whether somebody wants this process to end, kept until the run has been told."""

    def __init__(self) -> None:
        self.number: Optional[int] = None
        self._since = 0.0
        self._before: dict[int, Any] = {}
        self._parent = os.getppid()

    def __bool__(self) -> bool:
        return self.number is not None

    def take_signals(self) -> None:
        """From now on a signal is a wish; one that comes later is obeyed at once."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)

    def give_signals_back(self) -> None:
        """Handle signals as before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until there is a wish; whether there is one.

        A worker whose ansible-playbook was killed lives on; that counts as a wish too.
        """
        deadline = time.monotonic() + seconds
        while not self and time.monotonic() < deadline:
            if os.getppid() != self._parent:
                self.number = signal.SIGTERM
            time.sleep(TICK_S)
        return bool(self)

    def follow(self) -> None:
        """Do what the signal would have done."""
        self.give_signals_back()
        if self.number is not None:
            os.kill(os.getpid(), self.number)
            time.sleep(1)

    def _note(self, number: int, _frame: object) -> None:
        if not self:
            self.number, self._since = number, time.monotonic()
        elif time.monotonic() - self._since > SAME_WISH_S:
            self.follow()


@contextlib.contextmanager
def wish_to_stop() -> Iterator[Wish]:
    """Give the wish that signals make within this block."""
    wish = Wish()
    wish.take_signals()
    try:
        yield wish
    finally:
        wish.give_signals_back()


def look_command(started: Mapping[str, Any]) -> str:
    """Return the shell line that renews the lease and prints progress, clock and liveness.

    A zombie is gone: on the control node itself our own process adopts the executor's, and
    nobody waits for it.
    """
    place = shlex.quote(str(started["run_directory"]))
    state = f"grep -qs '^State:.[^ZX]' /proc/{int(started['pid'])}/status"
    alive = f"{state} && echo alive || echo gone"
    return f"touch {place}/lease && cat {place}/progress.json && date +%s && {{ {alive}; }}"


def read_look(stdout: str) -> Optional[Look]:
    """Return what the look command printed, or None when it is not whole."""
    try:
        text, clock, liveness = stdout.strip().rsplit("\n", 2)
        progress = json.loads(text)
        now = float(clock)
    except ValueError:
        return None
    has_ended = progress["state"] != "running"
    line = "" if has_ended else progress_line(progress, now=now, here=time.time())
    return Look(
        line=line, has_ended=has_ended, is_orphaned=liveness.strip() == "gone" and not has_ended
    )


def progress_line(progress: Mapping[str, Any], *, now: float, here: float) -> str:
    """Return one line on where the run is.

    Args:
        progress: progress.json.
        now: the lab host's clock.
        here: the control node's clock, which the reader's watch agrees with.
    """
    total = progress["points_total"]
    number = progress["points_done"] + progress["points_failed"]
    failed = f" · {progress['points_failed']} failed" if progress["points_failed"] else ""
    end = time.strftime("%H:%M:%S", time.localtime(here + progress["expected_end"] - now))
    point = progress["current"]
    if point is None:
        return f"[{number}/{total}] {progress['phase']}{failed}{ENDS}{end}"
    fio = point["fio"]
    words = [str(fio["rw"])] if "rw" in fio else []
    words += [f"{word}={fio[word]}" for word in ("bs", "iodepth", "numjobs") if word in fio]
    repetition = f"rep {point['repetition']}/{progress['repetitions']}"
    return (
        f"[{number + 1}/{total}] {point['stack']} {' '.join(words)} {repetition}{failed}{ENDS}{end}"
    )


def ending_line(run: Mapping[str, Any]) -> str:
    """Return one line on how a run ended."""
    verdict = run.get("verdict") or {"state": "not judged", "reasons": []}
    codes = ", ".join(reason["code"] for reason in verdict["reasons"])
    total_s = (run.get("durations_s") or {}).get("total")
    took = f" in {total_s:.0f} s" if total_s is not None else ""
    judged = f"{verdict['state']}: {codes}" if codes else str(verdict["state"])
    return (
        f"{run['state']}: {run['points_done']} of {run['points_planned']} points{took} · {judged}"
    )


def _told(args: Mapping[str, Any], state: str) -> dict[str, Any]:
    """Return the arguments that ask for a state of the same run, without its bulk."""
    run_id = args.get("run_id") or args["plan"]["run_id"]
    told = {"state": state, "run_id": run_id}
    return {**told, "root": args["root"]} if "root" in args else told


def _truth(value: object) -> bool:
    return str(value).lower() not in ("false", "no", "0", "off")
