# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook through ansible-runner and tell how each host fared; its only user.

What a host did is built from events. ansible-runner's own answers are not asked: ``stats`` is
None when events are not kept, ``get_fact_cache`` is always empty with ansible-core 2.19, and a
result above ``MAX_EVENT_RES`` characters arrives as ``{}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nvmelab.errors import BadInputError, NvmelabError
from nvmelab.lab import children, launch
from nvmelab.lab.events import Event, HostOutcome, Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

_POLL_S = 0.2
# A worker that watches a run stops it on its host before it ends.
_GRACE_S = 20.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The results that matter here are a few kB; 64 MB are "whatever a module returns".
_MAX_EVENT_RES = 64 * 10**6
_HOST_KEY_CHECKING = "ANSIBLE_HOST_KEY_CHECKING"


class PlaybookError(NvmelabError):
    """Ansible could not run the playbook at all."""


class InterruptedRunError(NvmelabError):
    """The user asked to stop; every process that was started here is gone."""

    exit_code = 130


@dataclass(frozen=True)
class Playbook:
    """What to run: paths absolute, ``variables`` go by file, ``extra_vars`` as the user wrote."""

    path: Path
    inventory: Sequence[str] = ()
    limit: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    extra_vars: Sequence[str] = ()


def playbook_path(name: str) -> Path:
    """Return a playbook of the collection, in a checkout or an installed wheel.

    Raises:
        PlaybookError: the installation lacks it.
    """
    from ansible_collections.nvmelab.bench.plugins.module_utils import errors  # noqa: PLC0415

    path = Path(errors.__file__).absolute().parents[2] / "playbooks" / name
    if not path.is_file():
        raise PlaybookError(f"{path}: no such playbook; was nvmelab installed as a whole?")
    return path


def run_playbook(
    playbook: Playbook, on_event: Callable[[Event], None], *, timeout_s: float | None = None
) -> dict[str, HostOutcome]:
    """Return how each host fared, by name, after showing every event to ``on_event``.

    Raises:
        BadInputError: no such inventory, or no host of it is meant.
        PlaybookError: no host was reached by any task: syntax error, no Ansible.
        InterruptedRunError: SIGINT, SIGTERM or SIGHUP came; Ansible and its children were ended.
    """
    _check_inventory(playbook)
    outcomes = Outcomes()

    def handle(raw: dict[str, Any]) -> bool:
        event = Event.from_runner(raw)
        outcomes.take(event)
        on_event(event)
        return False  # keep no file of it

    with _private_folder() as folder, children.adopting(), _Interrupt(folder) as interrupt:
        _run(playbook, folder, handle, interrupt, timeout_s)
        if interrupt.signal_number or interrupt.timed_out:
            children.end_all()
    if interrupt.signal_number:
        raise InterruptedRunError(f"stopped by {signal.Signals(interrupt.signal_number).name}")
    if interrupt.timed_out:
        raise PlaybookError(f"{playbook.path.name} did not end within {timeout_s} s: stopped")
    if not outcomes.is_complete:
        raise _not_run(playbook, outcomes.last_words())
    return outcomes.by_host()


def _check_inventory(playbook: Playbook) -> None:
    """Refuse a path that is none; Ansible would go on with an empty inventory."""
    for inventory in playbook.inventory:
        if "," not in inventory and not Path(inventory).exists():
            raise BadInputError(
                f"inventory {inventory}: no such file or folder; a list of hosts needs a comma,"
                f" such as '{inventory},'"
            )


def _not_run(playbook: Playbook, words: str) -> NvmelabError:
    if "no hosts" in words or "hosts list is empty" in words:
        inventory = f"inventory {', '.join(playbook.inventory)}" if playbook.inventory else "no -i"
        limit = f" and --limit {playbook.limit}" if playbook.limit else ""
        return BadInputError(
            f"{playbook.path.name}: {inventory}{limit}: found no host, wanted one or more; next: "
            f"name an inventory with hosts, such as -i inventories/lab, or another limit. Ansible "
            f"said: {words}"
        )
    return PlaybookError(f"Ansible could not run {playbook.path.name}: {words}")


def _run(
    playbook: Playbook,
    folder: Path,
    handle: Callable[[dict[str, Any]], bool],
    interrupt: _Interrupt,
    timeout_s: float | None,
) -> None:
    import ansible_runner  # noqa: PLC0415 (0.1 s)

    interrupt.deadline = time.monotonic() + timeout_s if timeout_s else None
    _write_settings(folder)
    ansible_runner.interface.run(
        private_data_dir=str(folder),
        ident="run",
        binary=sys.executable,
        cmdline=shlex.join(_arguments(playbook, folder)),
        envvars=_environment(),
        quiet=True,
        suppress_env_files=True,
        fact_cache_type="memory",
        event_handler=handle,
        status_handler=lambda status, **_: _scrub(status["status"], folder),
        cancel_callback=interrupt.should_kill,
    )


def _arguments(playbook: Playbook, folder: Path) -> list[str]:
    """Return what follows the interpreter: launch.py, then ansible-playbook with its arguments.

    ``binary`` instead of ``playbook``: ansible-runner would put the inventory's text into its
    folder and the variables on the command line, where `ps` shows them and 128 KiB are the end.
    """
    variables = folder / "variables.json"
    variables.write_text(json.dumps(playbook.variables), encoding="utf-8")
    unset = "" if _HOST_KEY_CHECKING in os.environ else _HOST_KEY_CHECKING
    arguments = ["-I", "-S", launch.__file__, str(os.getpid()), str(folder / "pid")]
    arguments += [str(Path.cwd()), unset, _ansible_playbook(), str(playbook.path)]
    for inventory in playbook.inventory:
        arguments += ["-i", inventory]
    if playbook.limit:
        arguments += ["--limit", playbook.limit]
    for extra in (f"@{variables}", *playbook.extra_vars):
        arguments += ["-e", extra]
    return arguments


def _ansible_playbook() -> str:
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if not found:
        raise PlaybookError(
            f"no ansible-playbook beside {sys.executable} nor on PATH: pip install nvmelab again"
        )
    return found


def _environment() -> dict[str, str]:
    """Return what Ansible needs beyond the user's environment."""
    environment = {
        "MAX_EVENT_RES": str(_MAX_EVENT_RES),
        "ANSIBLE_NOCOLOR": "1",
        # Relative paths are meant from here; a shell's PWD may be older than a chdir.
        "PWD": str(Path.cwd()),
    }
    if not _has_ansible_cfg():
        environment["ANSIBLE_PIPELINING"] = os.environ.get("ANSIBLE_PIPELINING", "True")
        environment["ANSIBLE_FORKS"] = os.environ.get("ANSIBLE_FORKS", "20")
    return environment


def _has_ansible_cfg() -> bool:
    places = (Path("ansible.cfg"), Path("~/.ansible.cfg").expanduser(), "/etc/ansible/ansible.cfg")
    return "ANSIBLE_CONFIG" in os.environ or any(Path(place).exists() for place in places)


def _write_settings(folder: Path) -> None:
    """Write what ansible-runner reads from a file only, whatever is passed to it."""
    (folder / "env").mkdir()
    settings = {"pexpect_timeout": _POLL_S, "suppress_output_file": True}
    (folder / "env/settings").write_text(json.dumps(settings), encoding="utf-8")


def _scrub(status: str, folder: Path) -> None:
    """Remove the file that holds the whole environment, secrets too, once it has been written."""
    if status == "running":
        (folder / "artifacts/run/command").unlink(missing_ok=True)


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """Give a folder that only this user can read, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nvmelab-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class _Interrupt:
    """Catches the signals that mean "stop", and ends Ansible: politely first, then by force.

    A second signal means "now".
    """

    def __init__(self, folder: Path) -> None:
        self.signal_number = 0
        self._signal_count = 0
        self.timed_out = False
        self.deadline: float | None = None
        self._pid_file = folder / "pid"
        self._kill_at: float | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            # Under nohup SIGHUP is ignored, in a background job SIGINT: so it stays.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        self.signal_number = number
        self._signal_count += 1

    def should_kill(self) -> bool:
        """Return whether ansible-runner shall kill the playbook now; asked every poll."""
        now = time.monotonic()
        if self.deadline and now > self.deadline:
            self.timed_out = True
        if not (self.signal_number or self.timed_out):
            return False
        if self._kill_at is None:
            self._kill_at = now + _GRACE_S
            with contextlib.suppress(OSError, ValueError):
                # As Ctrl-C does: Ansible passes it on to its workers, each of which leads a
                # process group, and waits for them. On SIGTERM it would not wait.
                os.kill(int(self._pid_file.read_text(encoding="ascii")), signal.SIGINT)
        return now > self._kill_at or self._signal_count > 1
