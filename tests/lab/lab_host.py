# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab host: a systemd-nspawn machine on an overlay, in network and cgroups of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import remove_tree

HALT_S = 15


class LabError(Exception):
    """The lab cannot be built, started or taken down."""


def run(*argv: str) -> str:
    """Run a command; its standard output.

    Raises:
        LabError: it failed; with what it said.
    """
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def cgroup_roots(mountinfo: str) -> list[Path]:
    """Where a host's own cgroup is made: the unified tree and systemd's own, as far as mounted."""
    roots = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            roots.append(Path(before.split()[4]))
    return roots


@dataclass(frozen=True)
class Host:
    """One lab host; ``folder`` holds its overlay, its console and the process that runs it."""

    lab_folder: Path
    lab_namespace: str
    number: int

    @property
    def name(self) -> str:
        """Its name in the inventory, and its host name."""
        return f"h{self.number}"

    @property
    def folder(self) -> Path:
        """Where its files lie on this machine."""
        return self.lab_folder / self.name

    @property
    def address(self) -> str:
        """Its address on the lab's bridge."""
        return f"10.77.0.{10 + self.number}"

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return f"{self.lab_namespace}-{self.name}"

    @property
    def cgroups(self) -> list[Path]:
        """Its own cgroup in every tree that nspawn uses; else it would share the caller's."""
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        return [root / self.lab_namespace / self.name for root in cgroup_roots(mountinfo)]

    @property
    def process(self) -> tuple[int, str] | None:
        """Id and start time of its nspawn, as they were written down."""
        try:
            pid, start = (self.folder / "process").read_text(encoding="utf-8").split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid), start

    @property
    def is_running(self) -> bool:
        """Whether that very process is still alive."""
        process = self.process
        return process is not None and start_time(process[0]) == process[1]

    def make(self, image: Path) -> None:
        """Make its overlay on the image, its keys and its network."""
        for name in ("upper", "work", "mnt"):
            (self.folder / name).mkdir(parents=True)
        root = self.folder / "mnt"
        layers = f"lowerdir={image},upperdir={self.folder}/upper,workdir={self.folder}/work"
        run("mount", "-t", "overlay", "-o", layers, "overlay", str(root))
        keys = self.lab_folder / "keys"
        (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(keys / "id_ed25519.pub", root / "root/.ssh/authorized_keys")
        shutil.copy(keys / "host_ed25519", root / "etc/ssh/ssh_host_ed25519_key")
        (root / "etc/hostname").write_text(f"{self.name}\n", encoding="utf-8")
        (root / "etc/machine-id").write_text("", encoding="utf-8")
        self._make_network()

    def _make_network(self) -> None:
        outside, inside = ("ip", "-n", self.lab_namespace), ("ip", "-n", self.namespace)
        run("ip", "netns", "add", self.namespace)
        pair = ("type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run(*outside, "link", "add", self.name, *pair)
        run(*outside, "link", "set", self.name, "master", "br0", "up")
        run(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "link", "set", "lo", "up")

    def start(self) -> None:
        """Boot it unless it runs; returns at once."""
        if self.is_running:
            return
        for cgroup in self.cgroups:
            cgroup.mkdir(parents=True, exist_ok=True)
        join = "".join(f"echo $$ > {cgroup}/cgroup.procs; " for cgroup in self.cgroups)
        argv = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot"]
        argv += [f"--machine={self.lab_namespace}-{self.name}", f"--hostname={self.name}"]
        argv += [f"--network-namespace-path=/run/netns/{self.namespace}", "--console=read-only"]
        argv += ["--directory", str(self.folder / "mnt")]
        with (self.folder / "console.log").open("w", encoding="utf-8") as console:
            nspawn = subprocess.Popen(
                ["sh", "-c", f'{join}exec "$@"', "sh", *argv],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        words = f"{nspawn.pid} {start_time(nspawn.pid)}\n"
        (self.folder / "process").write_text(words, encoding="utf-8")

    def says_ssh(self) -> bool:
        """Whether its sshd answers, asked from inside the lab's namespace."""
        code = (
            "import socket, sys\n"
            "s = socket.create_connection((sys.argv[1], 22), 1)\n"
            "s.settimeout(1); sys.exit(not s.recv(4).startswith(b'SSH-'))"
        )
        enter = ["nsenter", f"--net=/run/netns/{self.lab_namespace}"]
        argv = [*enter, "/usr/bin/python3", "-ISc", code, self.address]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def halt(self) -> None:
        """Ask it to halt, as its power button would."""
        process = self.process
        if process and self.is_running:
            os.kill(process[0], signal.SIGTERM)

    def wait_until_halted(self) -> None:
        """Wait for the halt; a host that hangs is killed."""
        deadline = time.monotonic() + HALT_S
        while self.is_running:
            _reap()
            process = self.process
            if process and time.monotonic() > deadline:
                os.kill(process[0], signal.SIGKILL)
            time.sleep(0.02)
        (self.folder / "process").unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove its mounts, files, namespace and cgroups."""
        if Path("/run/netns", self.namespace).exists():
            run("ip", "netns", "delete", self.namespace)
        remove_tree(self.folder)
        for cgroup in self.cgroups:
            remove_cgroup(cgroup)


def start_time(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None for one that ended (a zombie has)."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if words[0] == "Z" else words[19]


def remove_cgroup(cgroup: Path) -> None:
    """Remove a cgroup, what is below it, and its parent when it was the last there."""
    deadline = time.monotonic() + HALT_S
    while cgroup.exists():
        for folder, _, _ in os.walk(cgroup, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LabError(f"{folder}: cannot be removed: {error.strerror}") from error
        time.sleep(0.01)
    try:
        cgroup.parent.rmdir()
    except OSError:
        return  # another host is there


def _reap() -> None:
    """Collect a child that ended, so that it does not count as running."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
