# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner, with a stand-in for ansible-playbook: what is started is ended, nothing is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvmelab.errors import BadInputError
from nvmelab.lab import runner
from nvmelab.lab.events import Event, Outcomes, reason_of
from nvmelab.lab.runner import InterruptedRunError, Playbook, PlaybookError, run_playbook

# Like ansible-playbook: a worker in a session of its own, ended on a signal, if not stubborn.
STAND_IN = """
    import os, signal, subprocess, sys, time
    worker = subprocess.Popen(["sleep", "300"], start_new_session=True)
    open({pids!r}, "w").write(f"{{os.getpid()}} {{worker.pid}}")
    end = signal.SIG_IGN if {stubborn} else lambda *_: (worker.terminate(), os._exit(1))
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    print("started", flush=True)
    time.sleep(300)
"""


def _wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline, "waited 20 s"
        time.sleep(0.02)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(autouse=True)
def _sigint_is_heard() -> Iterator[None]:
    """As in a terminal: whoever starts the tests in the background of a shell ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Give a function that makes the stand-in's program."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)

    def make(program: str) -> Path:
        path = tmp_path / "ansible-playbook"
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(program)}")
        path.chmod(0o755)
        monkeypatch.setattr(runner, "_ansible_playbook", lambda: str(path))
        return path

    return make


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("stubborn", [False, True])
def test_signal_ends_everything_that_was_started(
    tmp_path: Path,
    stand_in: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    stubborn: bool,  # noqa: FBT001
) -> None:
    """After Ctrl-C neither Ansible nor a worker in a session of its own lives, polite or not."""
    monkeypatch.setattr(runner, "_GRACE_S", 0.3)
    pids = tmp_path / "pids"
    stand_in(STAND_IN.format(pids=str(pids), stubborn=stubborn))
    before = signal.getsignal(number)

    def started(event: Event) -> None:
        if "started" in event.text:
            os.kill(os.getpid(), number)

    with pytest.raises(InterruptedRunError, match=number.name) as caught:
        run_playbook(Playbook(tmp_path / "x.yml"), started)
    assert caught.value.exit_code == 130
    assert all(_is_gone(int(pid)) for pid in pids.read_text().split())
    assert list((tmp_path / "tmp").iterdir()) == []
    assert signal.getsignal(number) is before


def test_second_signal_does_not_wait(tmp_path: Path, stand_in: Callable[[str], Path]) -> None:
    """A user who presses Ctrl-C twice is not made to wait for a stubborn playbook."""
    pids = tmp_path / "pids"
    stand_in(STAND_IN.format(pids=str(pids), stubborn=True))

    def started(event: Event) -> None:
        if "started" in event.text:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(InterruptedRunError):
            run_playbook(Playbook(tmp_path / "x.yml"), started)
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert all(_is_gone(int(pid)) for pid in pids.read_text().split())


def test_deadline_ends_the_playbook(tmp_path: Path, stand_in: Callable[[str], Path]) -> None:
    """A playbook that takes too long is ended and named."""
    pids = tmp_path / "pids"
    stand_in(STAND_IN.format(pids=str(pids), stubborn=False))
    with pytest.raises(PlaybookError, match=r"x\.yml did not end within 1 s"):
        run_playbook(Playbook(tmp_path / "x.yml"), lambda _: None, timeout_s=1)
    assert all(_is_gone(int(pid)) for pid in pids.read_text().split())


def test_killed_nvmelab_takes_ansible_along(
    tmp_path: Path, stand_in: Callable[[str], Path]
) -> None:
    """SIGKILL leaves no ansible-playbook that goes on alone."""
    pids = tmp_path / "pids"
    program = stand_in(STAND_IN.format(pids=str(pids), stubborn=False))
    code = f"""
        from pathlib import Path
        from nvmelab.lab import runner
        runner._ansible_playbook = lambda: {str(program)!r}
        runner.run_playbook(runner.Playbook(Path("x.yml")), lambda event: None)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)]) as process:
        try:
            _wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
            # The stand-in tells its pids before it can be told to end.
            time.sleep(0.2)
        finally:
            process.kill()
    _wait_until(lambda: all(_is_gone(int(pid)) for pid in pids.read_text().split()))


def test_no_secret_lies_around_while_it_runs(
    tmp_path: Path, stand_in: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is in no file; variables are in a private one, not on the command line."""
    monkeypatch.setenv("MY_PASSWORD", "s3cret-env")
    stand_in("""
        import pathlib, sys, time
        time.sleep(0.5)
        top = pathlib.Path(sys.argv[sys.argv.index("-e") + 1].lstrip("@")).parent
        print("mode", oct(top.stat().st_mode & 0o777))
        files = [p for p in top.rglob("*") if p.is_file()]
        print("env", [p.name for p in files if "s3cret-env" in p.read_text(errors="replace")])
        print("var", [p.name for p in files if "s3cret-var" in p.read_text(errors="replace")])
        print("argv", "s3cret-var" in " ".join(sys.argv))
    """)
    texts: list[str] = []
    playbook = Playbook(tmp_path / "x.yml", variables={"password": "s3cret-var"})
    with pytest.raises(PlaybookError):
        run_playbook(playbook, lambda event: texts.append(event.text))
    assert {"mode 0o700", "env []", "var ['variables.json']", "argv False"} <= set(texts)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_user_decides_on_host_keys_and_place(
    tmp_path: Path, stand_in: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ansible-runner would switch host key checking off and change the folder: undone."""
    monkeypatch.chdir(tmp_path)
    stand_in("""
        import os
        print("checking", os.environ.get("ANSIBLE_HOST_KEY_CHECKING"))
        print("place", os.getcwd() == os.environ["PWD"])
        print("at", os.getcwd())
    """)
    texts: list[str] = []
    for _ in range(2):
        with pytest.raises(PlaybookError):
            run_playbook(Playbook(tmp_path / "x.yml"), lambda event: texts.append(event.text))
        monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
    assert [text for text in texts if text] == [
        "checking None", "place True", f"at {tmp_path}",
        "checking False", "place True", f"at {tmp_path}",
    ]  # fmt: skip


def test_ansible_that_reaches_no_host_is_an_error_with_its_words(
    tmp_path: Path, stand_in: Callable[[str], Path]
) -> None:
    """Not even exit code 0 is believed without a summary of hosts."""
    stand_in('print("[ERROR]: the playbook: x.yml could not be found")')
    with pytest.raises(PlaybookError, match=r"could not run x\.yml: \[ERROR\]: the playbook"):
        run_playbook(Playbook(tmp_path / "x.yml"), lambda _: None)


def test_no_hosts_is_bad_input(tmp_path: Path, stand_in: Callable[[str], Path]) -> None:
    """An inventory that is not there, and a limit that leaves nobody, are the user's to mend."""
    stand_in('print("[ERROR]: --limit leaves us with no hosts to target.")')
    with pytest.raises(BadInputError, match=r"inventory a, and --limit b: found .* to target"):
        run_playbook(Playbook(tmp_path / "x.yml", inventory=["a,"], limit="b"), lambda _: None)
    with pytest.raises(BadInputError, match=r"x\.yml: no -i: found no host, .* -i inventories/lab"):
        run_playbook(Playbook(tmp_path / "x.yml"), lambda _: None)
    with pytest.raises(BadInputError, match="inventory lab: no such file or folder"):
        run_playbook(Playbook(tmp_path / "x.yml", inventory=["lab"]), lambda _: None)


def test_missing_playbook_is_named() -> None:
    """An incomplete installation says so."""
    assert runner.playbook_path("collect.yml").is_file()
    with pytest.raises(PlaybookError, match=r"nope\.yml: no such playbook"):
        runner.playbook_path("nope.yml")


def _event(event: str, **data: object) -> Event:
    return Event.from_runner({"event": event, "event_data": data})


def test_outcome_of_each_host_comes_from_events() -> None:
    """Rescued failures count as nothing, unreachable and failed say why."""
    outcomes = Outcomes()
    for event in (
        _event("runner_on_failed", host="a", task="T", res={"msg": "rescued", "changed": False}),
        _event("runner_on_unreachable", host="b", task="T", res={"msg": "no route"}),
        _event("runner_on_failed", host="c", task="T", res={"msg": "boom"}),
        _event(
            "runner_on_failed", host="d", task="T", ignore_errors=True, res={"msg": "never mind"}
        ),
        _event(
            "playbook_on_stats",
            processed={"a": 1, "b": 1, "c": 1, "d": 1}, dark={"b": 1}, failures={"c": 1},
            rescued={"a": 1},
        ),
    ):  # fmt: skip
        outcomes.take(event)
    found = {o.host: (o.state, o.message) for o in outcomes.by_host().values()}
    assert found == {
        "a": ("ok", ""), "b": ("unreachable", "no route"), "c": ("failed", "T: boom"),
        "d": ("ok", ""),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({}, "too large for ansible-runner"),
        ({"msg": "non-zero return code", "cmd": ["x"], "stderr": "why\n"}, "T: why"),
        ({"msg": "one", "results": [{"msg": "fine"}, {"failed": True, "msg": "item"}]}, "T: item"),
        ({"changed": False}, "failed without a message"),
    ],
)
def test_reason_of_a_failure(result: dict[str, object], expected: str) -> None:
    """The most telling text is taken; a result that got lost is said to be lost."""
    assert expected in reason_of(_event("runner_on_failed", task="T", res=result))


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({"cmd": ["python3", "-m", "nvmelab", "plan"], "rc": 2, "msg": "x"}, 2),
        ({"cmd": ["python3", "-m", "nvmelab", "plan"], "rc": 1, "msg": "x"}, 1),
        ({"cmd": ["false"], "rc": 2, "msg": "x"}, 1),
        ({"msg": "x"}, 1),
    ],
)
def test_bad_input_found_in_a_play_is_exit_code_2(result: dict[str, object], code: int) -> None:
    """Our own command's refusal keeps its exit code, whoever ran it."""
    outcomes = Outcomes()
    outcomes.take(_event("runner_on_failed", host="a", task="T", res=result))
    outcomes.take(_event("playbook_on_stats", processed={"a": 1}, failures={"a": 1}))
    assert outcomes.by_host()["a"].exit_code == code


@pytest.mark.parametrize(
    ("action", "code"),
    [("nvmelab.bench.host_state_request", 2), ("ansible.builtin.uri", 1)],
)
def test_a_plugin_of_ours_says_its_exit_code(action: str, code: int) -> None:
    """A refusal by the collection's own plugin is bad input; others' keys mean nothing here."""
    outcomes = Outcomes()
    refused = {"msg": "no setting 'governer'", "exit_code": 2}
    outcomes.take(_event("runner_on_failed", host="a", task="T", task_action=action, res=refused))
    outcomes.take(_event("playbook_on_stats", processed={"a": 1}, failures={"a": 1}))
    assert outcomes.by_host()["a"].exit_code == code


def test_rescued_failure_told_at_the_end_keeps_its_cause() -> None:
    """bench.yml rescues, lets other hosts finish, and fails then: the first failure tells more."""
    outcomes = Outcomes()
    first = {"cmd": ["python3", "-m", "nvmelab", "plan"], "rc": 2, "msg": "non-zero", "stderr": "E"}
    outcomes.take(_event("runner_on_failed", host="a", task="Plan", res=first))
    last = {"msg": "a: E"}
    outcomes.take(
        _event(
            "runner_on_failed", host="a", task="Fail", res=last,
            resolved_action="ansible.builtin.fail",
        )
    )  # fmt: skip
    outcomes.take(_event("playbook_on_stats", processed={"a": 1}, failures={"a": 1}))
    found = outcomes.by_host()["a"]
    assert (found.message, found.exit_code) == ("Plan: E", 2)
