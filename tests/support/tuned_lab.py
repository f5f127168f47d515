# SPDX-License-Identifier: GPL-3.0-or-later
"""Lab hosts whose settings are plain files: they look like bare machines, and can be tuned.

An nspawn host shares the kernel of the machine that runs the tests, and may not write to it. Here
files of its own lie over what a run would tune; they keep what is written, and are read from
outside as a witness that is not ours.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_sysfs import FakeHost
from lab_folders import lab_folder
from user_commands import DEADLINE_S, UserCommands

THP = "sys/kernel/mm/transparent_hugepage/enabled"
PAGES = "hugepages/hugepages-2048kB"
FILES = {
    THP: "[always] madvise never",
    "sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never",
    "sys/kernel/mm/ksm/run": "1",
    "proc/sys/kernel/numa_balancing": "1",
    "proc/sys/kernel/nmi_watchdog": "1",
    "proc/sys/kernel/timer_migration": "1",
    "proc/sys/kernel/sched_autogroup_enabled": "1",
    "proc/sys/vm/compact_memory": "",
    # Without the flag `hypervisor`: a bare machine.
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Fake\nflags\t\t: fpu sse2",
    f"sys/kernel/mm/{PAGES}/resv_hugepages": "0",
    f"sys/devices/system/node/node0/{PAGES}/nr_hugepages": "0",
    f"sys/devices/system/node/node0/{PAGES}/surplus_hugepages": "0",
}
# Mounted over what the container has: folders whole, below /proc single files.
OVERLAID = (
    *("sys/devices/system/cpu", "sys/devices/system/node", "sys/kernel/mm"),
    *(name for name in FILES if name.startswith("proc/")),
)
UNIT = """\
[Unit]
Description=Stands in for irqbalance
[Service]
ExecStart=/usr/bin/sleep infinity
"""


@dataclass(frozen=True)
class TunedLab(UserCommands):
    """The hosts, h1 and so on, their files seen from outside, and commands as a user types them."""

    folder: Path

    @property
    def inventory(self) -> Path:
        """The inventory that labhosts wrote."""
        return self.folder / "inventory.yml"

    @property
    def root(self) -> Path:
        """The root folder of h1, from outside."""
        return self.folder / "h1/mnt"

    @property
    def record(self) -> Path:
        """The record of tuning; there while the host is tuned."""
        return self.root / "var/lib/nvmelab/host_state.json"

    def playbook(self, name: str, *more: str) -> list[str]:
        """The command line of a playbook against this host."""
        return [tool("ansible-playbook"), f"playbooks/{name}.yml", "-i", str(self.inventory), *more]

    def bench(self, tuning: str, experiment: str | Path, *more: str) -> list[str]:
        """The command line of a measurement."""
        asked = ["-e", f"nvmelab_tuning={tuning}", "-e", f"nvmelab_experiment={experiment}"]
        return self.playbook("bench", *asked, *more)

    @property
    def environment(self) -> dict[str, str]:
        """As every lab's, with the folder of these hosts."""
        return {**super().environment, "NVMELAB_LAB_DIRECTORY": str(self.folder)}

    def module(self, name: str, **arguments: object) -> dict[str, Any]:
        """The result of a module on the host, without any playbook."""
        done = self.run(
            [tool("ansible"), "h1", "-i", str(self.inventory), "-m", f"nvmelab.bench.{name}",
             "-a", json.dumps(arguments), "--one-line"]
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout.partition("=> ")[2])
        return result

    def shell(self, script: str, host_name: str = "h1") -> str:
        """What a script printed on a host; it must end well."""
        host = json.loads(self.inventory.read_text("utf-8"))["lab"]
        variables, address = host["vars"], host["hosts"][host_name]["ansible_host"]
        options = shlex.split(variables["ansible_ssh_common_args"])
        argv = ["ssh", *options, "-i", variables["ansible_ssh_private_key_file"], f"root@{address}"]
        done = subprocess.run(
            [*argv, "bash -eu"], input=script, capture_output=True, text=True, check=False,
            timeout=DEADLINE_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def picture(self) -> dict[str, str]:
        """All settings as they lie on the disk, and whether irqbalance runs."""
        here = self.root / "fake"
        files = (p for p in sorted(here.rglob("*")) if p.is_file() and not p.is_symlink())
        found = {str(path.relative_to(here)): _value(path) for path in files}
        found["irqbalance"] = self.shell("systemctl show -P ActiveState irqbalance").strip()
        return found

    def runs(self) -> set[Path]:
        """The run directories on the host, from outside."""
        return set((self.root / "var/lib/nvmelab/runs").glob("*"))

    def kill_executor(self, run: Path) -> None:
        """Kills supervisor and executor of a run, as a crash would."""
        found = json.loads((run / "executor.json").read_text("utf-8"))
        self.shell(f"kill -KILL {found['pid']} {found['executor_pid']}")


def _value(path: Path) -> str:
    """The text, of a choice the word in brackets: a plain file does not put them back."""
    text = path.read_text("utf-8").strip()
    return text.partition("[")[2].partition("]")[0] or text


def tool(name: str) -> str:
    """A program of the virtual environment."""
    return str(Path(sys.executable).with_name(name))


def kill(process: subprocess.Popen[str]) -> None:
    """Kills ansible-playbook and its workers, which are sessions of their own, all at once."""
    family = [process.pid, *_descendants(process.pid)]
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    process.wait(30)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [one for child in map(int, children) for one in (child, *_descendants(child))]


@contextmanager
def tuned_lab(checkout: Path, scratch: Path, count: int = 1) -> Iterator[TunedLab]:
    """So many hosts, up and with files in the place of their settings; gone without a trace."""
    lab = TunedLab(checkout, lab_folder("tuning"))
    labhosts = [sys.executable, "tests/lab/labhosts.py"]
    fake = _machine(scratch)
    try:
        done = lab.run([*labhosts, "up", str(count)])
        assert done.returncode == 0, done.stderr
        for number in range(1, count + 1):
            _dress(lab, f"h{number}", fake)
        yield lab
    finally:
        done = lab.run([*labhosts, "down"])
        assert done.returncode == 0, done.stderr


def _machine(scratch: Path) -> Path:
    """The files of a bare machine with as many CPUs as there are."""
    fake = FakeHost(scratch / "fake", cpus=os.cpu_count() or 1).frequency("intel_pstate")
    for name, text in FILES.items():
        fake.put(name, text)
    node = fake.root / f"sys/devices/system/node/node0/{PAGES}"
    (node / "free_hugepages").symlink_to("nr_hugepages")
    whole = fake.root / "sys/kernel/mm" / PAGES
    for name in ("nr_hugepages", "free_hugepages", "surplus_hugepages"):
        (whole / name).symlink_to(f"/sys/devices/system/node/node0/{PAGES}/{name}")
    return fake.root


def _dress(lab: TunedLab, name: str, fake: Path) -> None:
    root = lab.folder / name / "mnt"
    subprocess.run(["cp", "-a", str(fake), str(root / "fake")], check=True)
    (root / "etc/systemd/system/irqbalance.service").write_text(UNIT, encoding="ascii")
    mounts = [f"mount --bind /fake/{name} /{name}" for name in OVERLAID]
    lab.shell("\n".join([*mounts, "systemctl daemon-reload", "systemctl start irqbalance"]), name)
