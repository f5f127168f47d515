# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: what is printed where, and the exit codes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import run_archives

from nvmelab import cli
from nvmelab.errors import BadInputError, NvmelabError
from nvmelab.lab import bench, collect, doctor
from nvmelab.lab.collect import HostCollected
from nvmelab.lab.events import HostOutcome
from nvmelab.lab.runner import InterruptedRunError
from nvmelab.store.folder import Store

COMMANDS = (
    "run",
    "collect",
    "doctor",
    "list",
    "show",
    "report",
    "parse",
    "export",
    "plan",
    "schema",
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The default store, with one run of one host."""
    monkeypatch.setenv("NVMELAB_STORE", str(tmp_path / "store"))
    store = Store(tmp_path / "store")
    store.add(run_archives.archive(tmp_path))
    return store


def test_help_tells_commands_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The first page names every command, shows examples, and explains the exit codes."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in (*COMMANDS, "examples:", "exit codes:", "130", "latest", "NVMELAB_STORE"):
        assert word in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command shows at least one command line that can be typed."""
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"nvmelab {command}" in capsys.readouterr().out.partition("example")[2]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nope"],
        ["show"],
        ["show", "latest", "--nope"],
        ["list", "--format", "yaml"],
        ["export", "latest"],
        ["parse"],
        ["plan", "--seed", "x"],
    ],
)
def test_wrong_usage_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage ends with 2 and the usage on stderr, nothing on stdout."""
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: nvmelab" in captured.err


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (NvmelabError("boom", log="x.log"), 1, "nvmelab: boom (log: x.log)\n"),
        (BadInputError("not so"), 2, "nvmelab: not so\n"),
        (InterruptedRunError("stopped"), 130, "nvmelab: stopped\n"),
        (KeyboardInterrupt(), 130, "nvmelab: interrupted\n"),
        (RuntimeError("odd"), 1, "nvmelab: RuntimeError: odd; this is a bug"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    expected: str,
) -> None:
    """Every error is told in one line on stderr; only --debug shows a traceback."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("nvmelab.commands.handlers._entries", fail)
    assert cli.main(["list"]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(expected)
    assert captured.err.count("\n") == 1
    assert cli.main(["--debug", "list"]) == code
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, Exception)


def test_list_and_its_query(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A table for people, JSON for programs, a query for what is wanted."""
    assert cli.main(["list"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "experiment", "state", "verdict", "points", "hosts"]
    assert line.split() == [run_archives.RUN_ID, "quick", "complete", "tainted", "2/2", "storage-a"]
    assert cli.main(["list", "--query", "[].hosts[]"]) == 0
    assert json.loads(capsys.readouterr().out) == ["storage-a"]
    assert cli.main(["list", "--query", "[?"]) == 2
    assert "at character 3" in capsys.readouterr().err


def test_list_puts_hosts_together(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of several hosts is one line: sums, and the worst state and verdict."""
    store.add(
        run_archives.archive(
            tmp_path, host="storage-b", state="partial", points_done=1, verdict={"state": "clean"}
        )
    )
    assert cli.main(["list", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["hosts"] == ["storage-a", "storage-b"]
    assert (entry["state"], entry["verdict"], entry["points_done"]) == ("partial", "tainted", 3)


def test_empty_store_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing measured yet: said in words, JSON an empty list; showing a run is bad input."""
    monkeypatch.setenv("NVMELAB_STORE", str(tmp_path / "none"))
    assert cli.main(["list"]) == 0
    assert "no runs" in capsys.readouterr().out
    assert cli.main(["list", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["show", "latest"]) == 2
    assert not (tmp_path / "none").exists()


def test_show_gives_manifest_and_rows(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and queries see every host's manifest with its rows; --host chooses one."""
    assert cli.main(["show", "latest", "--format", "json"]) == 0
    (host,) = json.loads(capsys.readouterr().out)
    assert host["run_id"] == run_archives.RUN_ID
    assert len(host["rows"]) == 4
    query = "[].rows[?direction=='read'][].[point_id, numjobs]"
    assert cli.main(["show", "20261121T", "--host", "storage-a", "--query", query]) == 0
    assert json.loads(capsys.readouterr().out) == [["0001", 1], ["0002", 1]]
    assert cli.main(["show", "latest", "--host", "x"]) == 2
    assert "there are: storage-a" in capsys.readouterr().err


def test_parse_prints_the_good_and_names_the_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad file costs exit code 1 and a line on stderr, not the other files."""
    bad = tmp_path / "bad.json"
    bad.write_text('{"fio version": "fio-3.33", "jobs": [')
    good = str(run_archives.FIO_OUTPUT)
    assert cli.main(["parse", str(bad), good, str(tmp_path / "none"), "--format", "json"]) == 1
    captured = capsys.readouterr()
    rows = json.loads(captured.out)
    assert [(row["file"], row["direction"]) for row in rows] == [(good, "read"), (good, "write")]
    assert rows[0]["lat_p99_ns"] is None
    first, second = captured.err.splitlines()
    assert str(bad) in first
    assert str(tmp_path / "none") in second


def test_parse_formats_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """CSV has the same rows and columns as JSON; the table shows units."""
    file = str(run_archives.FIO_OUTPUT)
    assert cli.main(["parse", file, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert cli.main(["parse", file, "--format", "csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line.keys() for line in lines] == [row.keys() for row in rows]
    assert [float(line["iops"]) for line in lines] == [row["iops"] for row in rows]
    assert cli.main(["parse", file]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 3
    assert "GiB/s" in table[1]


def test_parse_reads_standard_input() -> None:
    """`-` is standard input, as in a pipe from fio."""
    done = subprocess.run(
        [sys.executable, "-m", "nvmelab", "parse", "-", "--format", "json"],
        input=run_archives.FIO_OUTPUT.read_bytes(), capture_output=True, check=True,
    )  # fmt: skip
    assert [row["direction"] for row in json.loads(done.stdout)] == ["read", "write"]


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    """`| head` ends the command without a traceback or a message."""
    rows = [str(run_archives.FIO_OUTPUT)] * 500
    with subprocess.Popen(
        [sys.executable, "-m", "nvmelab", "parse", *rows, "--format", "csv"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_light_commands_load_nothing_heavy() -> None:
    """Help and parse start fast: neither DuckDB, Ansible, Plotly nor pydantic is loaded."""
    code = (
        "import sys; from nvmelab import cli; from nvmelab.commands import fio_files, handlers;"
        "cli.build_parser();"
        "print([m for m in ('duckdb', 'ansible', 'ansible_runner', 'plotly', 'pydantic', 'rich',"
        " 'jmespath') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_export_to_file_and_to_standard_output(
    store: Store, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Both ways give the same bytes; a run named twice is exported once."""
    out = tmp_path / "out.csv"
    assert cli.main(["export", "latest", "--format", "csv", "--out", str(out)]) == 0
    assert cli.main(["export", "latest", run_archives.RUN_ID, "--format", "csv"]) == 0
    assert capfdbinary.readouterr().out == out.read_bytes()
    assert len(out.read_text().splitlines()) == 5


def test_store_add_and_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As collect.yml uses it: what was added is said, a bad archive is 1, known is JSON."""
    monkeypatch.setenv("NVMELAB_STORE", str(tmp_path / "store"))
    good = run_archives.archive(tmp_path)
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(b"rubbish")
    assert cli.main(["store", "add", str(good), str(bad)]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"added {run_archives.RUN_ID} storage-a (complete)\n"
    assert "bad.tar.gz" in captured.err
    assert cli.main(["store", "add", str(good)]) == 0
    assert capsys.readouterr().out.startswith("unchanged ")
    assert cli.main(["store", "add", "--fetched", str(tmp_path / "nothing")]) == 0
    assert cli.main(["store", "known"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "storage-a": {run_archives.RUN_ID: "2026-11-21T09:01:00Z"}
    }


def test_doctor_shows_the_good_hosts_and_names_the_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found is on stdout, who failed on stderr; both formats have the same exit code."""
    slow = {"knob": "governor", "group": "cpupower", "asked": "performance",
            "effective": "powersave", "state": "differs", "text": ""}  # fmt: skip
    good = doctor.HostAudit("good", "ok", rows=(slow,))
    away = doctor.HostAudit("away", "unreachable", "no route to host", 1)
    monkeypatch.setattr(doctor, "audit", lambda **_: [away, good])
    for more in ([], ["--format", "json"]):
        assert cli.main(["doctor", "-i", "x", *more]) == 1
        captured = capsys.readouterr()
        assert "powersave" in captured.out
        assert captured.err == "nvmelab: away: unreachable: no route to host\n"
    monkeypatch.setattr(doctor, "audit", lambda **_: [good])
    assert cli.main(["doctor", "-i", "x"]) == 4


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["collected", "nothing new"], 0),
        (["nothing new"], 0),
        (["collected", "unreachable"], 1),
        (["failed"], 1),
    ],
)
def test_collect_exit_codes(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    states: list[str],
    code: int,
) -> None:
    """0 when every host answered, 1 when one did not; a line a host."""
    hosts = [HostCollected(f"h{n}", state) for n, state in enumerate(states)]
    monkeypatch.setattr(collect, "collect", lambda *_, **__: hosts)
    assert cli.main(["collect", "-i", "x"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["host", *(f"h{n}" for n in range(len(states)))]


@pytest.mark.parametrize(
    ("codes", "code"), [([0, 0], 0), ([0, 1], 1), ([2, 2], 2), ([2, 1], 1), ([0, 2], 2)]
)
def test_run_exit_codes(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    codes: list[int],
    code: int,
) -> None:
    """0 when all measured, 2 when all that failed was bad input, else 1; each failure is named."""
    outcomes = {
        f"h{n}": HostOutcome(f"h{n}", "failed" if one else "ok", "why", one)
        for n, one in enumerate(codes)
    }
    monkeypatch.setattr(bench, "bench", lambda *_: bench.Done("", outcomes))
    assert cli.main(["run", "-i", "x"]) == code
    errors = capsys.readouterr().err.splitlines()
    assert errors == [f"nvmelab: h{n}: failed: why" for n, one in enumerate(codes) if one]


def test_run_refuses_a_bad_experiment_before_ansible_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typo in the experiment's name costs no playbook."""
    monkeypatch.setattr(bench, "run_playbook", lambda *_: pytest.fail("Ansible was started"))
    assert cli.main(["run", "-i", "x", "--experiment", "no-such-experiment"]) == 2
    assert "no-such-experiment" in capsys.readouterr().err


def test_interrupted_run_stops_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C after the plan was made runs stop.yml with the run's id, and ends with 130."""
    played: list[tuple[str, object]] = []

    def fake(playbook: object, on_event: Callable[..., None], **_: object) -> object:
        path, variables = playbook.path, playbook.variables  # type: ignore[attr-defined]
        played.append((path.name, variables.get("nvmelab_run_id")))
        if path.name == "stop.yml":
            return {"storage-a": HostOutcome("storage-a", "ok")}
        plan = {"cmd": ["python3", "-m", "nvmelab", "plan"], "stdout": '{"run_id": "R"}'}
        on_event(bench_event(plan))
        raise InterruptedRunError("stopped by SIGINT")

    def bench_event(result: dict[str, object]) -> object:
        from nvmelab.lab.events import Event  # noqa: PLC0415

        return Event("ok", host="storage-a", result=result)

    monkeypatch.setattr(bench, "run_playbook", fake)
    assert cli.main(["run", "-i", "x", "--store", str(tmp_path)]) == 130
    assert played == [("full-bench.yml", None), ("stop.yml", "R")]
    assert "run R was stopped on storage-a" in capsys.readouterr().err
