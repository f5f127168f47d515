# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role with --check --diff on a fresh host: it tells what it would do, and does nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from host_picture import changes, picture
from lab_folders import lab_folder, labhosts
from lab_traces import CHECKOUT, traces

HERE = Path(__file__).parent / "check_mode"
ROLES = sorted(path.name for path in CHECKOUT.glob("roles/*"))
GIVEN: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "roles.yml").read_text(encoding="utf-8"))


# States of a host as it was before a role came.
UNDONE = {"absent", "stopped"}
# The host of roles that need nothing, and one for each that needs fakes: those do not mix.
FAKED = [role for role in ROLES if GIVEN.get(role, {}).get("fakes")]


class Lab:
    """Fresh lab hosts, and Ansible on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def picture(self, host: str) -> dict[str, tuple[object, ...]]:
        """All that a role could have changed there."""
        words = (self.folder / host / "process").read_text(encoding="utf-8").split()
        return picture(int(words[0]))

    def play(self, host: str, *words: str) -> subprocess.CompletedProcess[str]:
        """What ansible-playbook answers."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        home = str(CHECKOUT / ".ansible")
        return subprocess.run(
            ["ansible-playbook", f"-i{self.folder / 'inventory.yml'}", f"-l{host}", *words],
            cwd=CHECKOUT,
            env={**os.environ, "PATH": path, "PWD": str(CHECKOUT), "ANSIBLE_HOME": home},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=300,
        )  # fmt: skip

    def check(
        self, host: str, role: str, variables: dict[str, Any], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """What a role tells in check mode."""
        roles = [f"nvmelab.bench.{role}"]
        play = {"hosts": "lab", "gather_facts": False, "roles": roles, "vars": variables}
        playbook = folder / "play.yml"
        playbook.write_text(json.dumps([play]), encoding="utf-8")
        return self.play(host, "--check", "--diff", str(playbook))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Hosts for all tests, since none may change them."""
    before = set(traces())
    folder = lab_folder("check-mode")
    lab = Lab(folder)
    try:
        up = labhosts(folder, "up", str(1 + len(FAKED)))
        assert up.returncode == 0, up.stderr
        done = lab.play("all", str(HERE / "fresh.yml"))
        assert done.returncode == 0, done.stdout
        yield lab
    finally:
        labhosts(folder, "down")
    assert set(traces()) <= before


def host_of(role: str) -> str:
    """The host to try a role on."""
    return f"h{2 + FAKED.index(role)}" if role in FAKED else "h1"


def states_of(role: str) -> set[str]:
    """What the role's variable ROLE_state may be."""
    path = CHECKOUT / "roles" / role / "meta/argument_specs.yml"
    options = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    return set(options.get(f"{role}_state", {}).get("choices", ()))


def recap(output: str) -> dict[str, int]:
    """The host's counts in the recap."""
    line = next(line for line in output.splitlines() if re.match(r"h\d +:", line))
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}


@pytest.mark.parametrize("role", ROLES)
def test_role_tells_and_changes_nothing(lab: Lab, tmp_path: Path, role: str) -> None:
    """It does not fail, counts a change, shows what it would be; the host is as it was.

    And there is nothing to undo.
    """
    assert role in GIVEN, f"tell {HERE / 'roles.yml'} what to give the role {role}"
    host, variables = host_of(role), GIVEN[role].get("variables", {})
    if role in FAKED:
        faked = lab.play(host, str(CHECKOUT / f"molecule/{role}/prepare.yml"))
        assert faked.returncode == 0, faked.stdout
    before = lab.picture(host)
    done = lab.check(host, role, variables, tmp_path)
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout)["changed"] > 0, done.stdout
    assert re.search(GIVEN[role]["tells"], done.stdout), done.stdout
    assert changes(before, lab.picture(host)) == []
    if undo := UNDONE & states_of(role):
        done = lab.check(host, role, {**variables, f"{role}_state": undo.pop()}, tmp_path)
        assert done.returncode == 0, done.stdout
        assert recap(done.stdout)["changed"] == 0, done.stdout


def test_the_main_job_tells_and_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    """full-bench.yml names packages, image and points; neither host nor control node changes."""
    variables = {
        "nvmelab_experiment": "tiny",
        "nvmelab_cpu_layout": {"overcommit": True},
        "nvmelab_store": str(tmp_path / "store"),
        "nvmelab_report": str(tmp_path / "report.html"),
    }
    before = lab.picture("h1")
    words = ("--check", "--diff", "-e", json.dumps(variables))
    done = lab.play("h1", "playbooks/full-bench.yml", *words)
    assert done.returncode == 0, done.stdout
    for said in ("would install", "debian-bookworm", "would run up to 3 points of tiny", "[0 H"):
        assert said in done.stdout
    assert changes(before, lab.picture("h1")) == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_given_to_roles_that_are_not_there() -> None:
    """A role that is gone takes its entry along."""
    assert sorted(GIVEN.keys() - set(ROLES)) == []


def test_the_witness_sees_a_change(lab: Lab, tmp_path: Path) -> None:
    """Another text of the same size, a new file, a mount: each is seen, and their undoing."""
    make = "echo h2 > /etc/hostname; touch /opt/new; mount -t tmpfs x /mnt"
    undo = "umount /mnt; rm /opt/new; echo h1 > /etc/hostname"
    before = lab.picture("h1")
    for command, seen in (
        (make, ["/etc/hostname", "/mnt", "/opt/new", "mount"]),
        (undo, ["/etc/hostname"]),
    ):
        play = {
            "hosts": "lab",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.shell": command}],
        }
        playbook = tmp_path / "play.yml"
        playbook.write_text(json.dumps([play]), encoding="utf-8")
        assert lab.play("h1", str(playbook)).returncode == 0
        found = changes(before, lab.picture("h1"))
        assert [name.split(" ", 1)[0] for name in found] == seen
