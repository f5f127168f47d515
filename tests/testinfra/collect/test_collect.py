# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m nvmelab collect` against three real hosts, one of which goes down (scenario collect).

The other witnesses are the hosts themselves, asked by testinfra, and DuckDB on the store's files.
The tests of this file tell one story and run in their order.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import duckdb
import pytest
import testinfra

CHECKOUT = Path(__file__).resolve().parents[3]
INVENTORY = CHECKOUT / ".cache" / "lab" / "inventory.yml"
HOSTS = ("h1", "h2", "h3")
RUNS = "/var/lib/nvmelab/runs"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that this story fills."""
    return tmp_path_factory.mktemp("store")


def labhosts(*words: str) -> None:
    """Have the lab do something to one of its hosts."""
    argv = [sys.executable, str(CHECKOUT / "tests/lab/labhosts.py"), *words]
    subprocess.run(argv, check=True)


def collect(store: Path) -> subprocess.CompletedProcess[str]:
    """Type the command as a user does; its words and exit code."""
    argv = [sys.executable, "-m", "nvmelab", "collect", f"--inventory={INVENTORY}"]
    return subprocess.run(
        [*argv, f"--store={store}"],
        cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_HOME": str(CHECKOUT / ".ansible")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def lines_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Host → the line of the result that begins with it."""
    words = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    return {host: words[host] for host in HOSTS}


def contents(store: Path) -> dict[str, str]:
    """Every file of the store → its digest."""
    files = [path for path in (store / "runs").rglob("*") if path.is_file()]
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def shell(host: str, command: str) -> str:
    """What a host answers to a command, by testinfra."""
    asked = testinfra.get_host(f"ansible://{host}", ansible_inventory=str(INVENTORY))
    return asked.check_output(command)


def runs_on(host: str) -> set[str]:
    """The runs that lie on a host, by its own word."""
    return set(shell(host, f"ls {RUNS}").split())


def runs_of(store: Path, host: str) -> set[str]:
    """The runs of a host that lie in the store."""
    return {path.parent.name for path in (store / "runs").glob(f"*/{host}")}


def test_every_run_of_every_host_is_collected(store: Path) -> None:
    """The first collect brings all that lies on the hosts and says so, host by host."""
    done = collect(store)
    assert done.returncode == 0, done.stdout + done.stderr
    for host, line in lines_of(done).items():
        assert "collected" in line, line
        assert runs_of(store, host) == runs_on(host) != set()


def test_what_is_stored_is_what_the_hosts_have(store: Path) -> None:
    """Each fio output in the raw archive has the digest that sha256sum gives on its host."""
    for host in HOSTS:
        (archive,) = (store / "runs").glob(f"*/{host}/raw.tar.gz")
        run = archive.parent.parent.name
        listed = shell(host, f"cd {RUNS} && sha256sum {run}/points/*.fio.json").splitlines()
        with tarfile.open(archive) as raw:
            for line in listed:
                digest, name = line.split()
                member = raw.extractfile(name)
                assert member is not None
                assert hashlib.sha256(member.read()).hexdigest() == digest
        assert len(listed) == 4


def test_rows_agree_with_fio_s_own_words(store: Path) -> None:
    """DuckDB, reading the store's files in place, counts the I/Os that fio printed on the hosts."""
    for host in HOSTS:
        run = next(iter(runs_on(host)))
        rows = duckdb.read_parquet(str(store / "runs" / run / host / "rows.parquet"))
        found = rows.sum("total_ios").fetchall()
        script = (
            "import json,glob; print(sum(job['read']['total_ios']"
            f" for name in glob.glob('{RUNS}/{run}/points/*.fio.json')"
            " for job in json.load(open(name))['jobs']))"
        )
        assert found == [(int(shell(host, f'python3 -c "{script}"')),)]


def test_collecting_again_changes_nothing(store: Path) -> None:
    """The second collect says that nothing is new, and no byte of the store differs."""
    before = contents(store)
    done = collect(store)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in lines_of(done).values():
        assert "nothing new" in line, line
    assert contents(store) == before


def test_collecting_leaves_nothing_on_the_hosts() -> None:
    """Archives that were packed for the way are gone, the run directories are still there."""
    for host in HOSTS:
        assert shell(host, "find /var/lib/nvmelab /tmp -name '*.tar.gz'") == ""
        assert runs_on(host)


def test_a_host_that_is_down_costs_the_others_nothing(store: Path) -> None:
    """New runs everywhere and h3 down: h1 and h2 are stored, h3 is unreachable, exit code 1."""
    bench()
    labhosts("stop", "h3")
    done = collect(store)
    lines = lines_of(done)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "unreachable" in lines["h3"]
    assert "10.77.0.13" in done.stdout, done.stdout
    for host in ("h1", "h2"):
        assert "collected" in lines[host]
        assert runs_of(store, host) == runs_on(host)
        assert len(runs_of(store, host)) == 2
    assert len(runs_of(store, "h3")) == 1


def test_what_was_missed_is_collected_later(store: Path) -> None:
    """h3 comes back with what it measured, and the others have nothing new."""
    labhosts("start", "h3")
    done = collect(store)
    lines = lines_of(done)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing new" in lines["h1"]
    assert "collected" in lines["h3"]
    assert runs_of(store, "h3") == runs_on("h3")


def test_manifests_say_where_they_were_made(store: Path) -> None:
    """Each record's manifest names its own host and a complete run."""
    for host in HOSTS:
        for path in (store / "runs").glob(f"*/{host}/manifest.json"):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            assert (manifest["host"], manifest["state"]) == (host, "complete")
            assert manifest["hostname"] == shell(host, "hostname")


def bench() -> None:
    """Measure once more on all hosts."""
    argv = ["ansible-playbook", "playbooks/bench.yml", f"--inventory={INVENTORY}"]
    argv += ["-e", f"nvmelab_experiment={Path(__file__).with_name('experiment.yml')}"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
