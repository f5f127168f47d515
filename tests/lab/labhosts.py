#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts for tests on one machine: systemd-nspawn, an overlay each, SSH, own namespaces.

Every host boots its own systemd, has its own address on a bridge in a network namespace of the
lab, and is reached over SSH like any machine: ``inventory.yml`` in the lab's folder says how. The
machine itself gets no address, route or service. ``down`` takes everything back.

usage: labhosts.py up N | stop NAME | start NAME | down | image
Needs root and the packages of packages.txt. The folder is .cache/lab of the checkout, or
$NVMELAB_LAB_DIRECTORY where that is on a file system that no overlay can be put on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import lab_image
from lab_host import Host, LabError, run

from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import tail

HERE = Path(__file__).resolve().parent
READY_S = 30
MOST_HOSTS = 9


@dataclass(frozen=True)
class Lab:
    """One lab of one checkout; names of kernel objects are its own, so checkouts do not meet."""

    folder: Path

    @property
    def namespace(self) -> str:
        """The network namespace of the lab's bridge; hosts' namespaces begin with its name."""
        return f"nvl-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:6]}"

    @property
    def hosts(self) -> list[Host]:
        """The hosts that are or were up, by number."""
        return [self._host(int(path.name[1:])) for path in sorted(self.folder.glob("h[1-9]"))]

    def _host(self, number: int) -> Host:
        return Host(self.folder, self.namespace, number)

    def host(self, name: str) -> Host:
        """The host of this name."""
        found = {host.name: host for host in self.hosts}
        if name not in found:
            raise LabError(f"no lab host {name!r}; there are: {', '.join(found) or 'none'}")
        return found[name]

    def up(self, count: int) -> None:
        """Have exactly ``count`` hosts running and reachable."""
        names = [f"h{number}" for number in range(1, count + 1)]
        if [h.name for h in self.hosts] == names and all(h.is_running for h in self.hosts):
            return
        self.down()
        image = lab_image.image(_made(self.folder))
        try:
            self._make_bridge()
            self._make_keys()
            for number in range(1, count + 1):
                self._host(number).make(image)
            self._write_inventory()
            for host in self.hosts:
                host.start()
            self.wait(self.hosts)
        except BaseException:
            self.down()
            raise

    def _make_bridge(self) -> None:
        inside = ("ip", "-n", self.namespace)
        run("ip", "netns", "add", self.namespace)
        run(*inside, "link", "add", "br0", "type", "bridge")
        run(*inside, "address", "add", "10.77.0.1/24", "dev", "br0")
        run(*inside, "link", "set", "br0", "up")
        run(*inside, "link", "set", "lo", "up")

    def _make_keys(self) -> None:
        keys = _made(self.folder / "keys")
        keys.chmod(0o700)
        for name in ("id_ed25519", "host_ed25519"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(keys / name))

    def _write_inventory(self) -> None:
        """Write inventory.yml (JSON, which is YAML) and the known_hosts that it names."""
        keys = self.folder / "keys"
        public = " ".join((keys / "host_ed25519.pub").read_text(encoding="utf-8").split()[:2])
        known = "".join(f"{host.address} {public}\n" for host in self.hosts)
        (keys / "known_hosts").write_text(known, encoding="utf-8")
        proxy = f"nsenter --net=/run/netns/{self.namespace} {HERE / 'nsconnect'} %h %p"
        options = f"-F none -o UserKnownHostsFile={keys / 'known_hosts'} -o ProxyUseFdpass=yes"
        variables = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(keys / "id_ed25519"),
            "ansible_ssh_common_args": f"{options} -o ProxyCommand='{proxy}'",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        hosts = {host.name: {"ansible_host": host.address} for host in self.hosts}
        inventory = {"lab": {"hosts": hosts, "vars": variables}}
        text = json.dumps(inventory, indent=1) + "\n"
        (self.folder / "inventory.yml").write_text(text, encoding="utf-8")

    def wait(self, hosts: list[Host]) -> None:
        """Wait until every host's sshd has said who it is.

        Raises:
            LabError: one did not within READY_S; with the end of its console.
        """
        deadline = time.monotonic() + READY_S
        for host in hosts:
            while not host.says_ssh():
                if time.monotonic() > deadline or not host.is_running:
                    raise LabError(
                        f"{host.name}: no SSH banner within {READY_S} s; its console ended:\n"
                        f"{tail(host.folder / 'console.log')}"
                    )
                time.sleep(0.05)

    def down(self) -> None:
        """Take everything back: hosts, mounts, namespaces, cgroups, files; the image stays."""
        for host in self.hosts:
            host.halt()
        for host in self.hosts:
            host.wait_until_halted()
            host.remove()
        if Path("/run/netns", self.namespace).exists():
            run("ip", "netns", "delete", self.namespace)
        shutil.rmtree(self.folder / "keys", ignore_errors=True)
        (self.folder / "inventory.yml").unlink(missing_ok=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def lab() -> Lab:
    """The lab of this checkout."""
    chosen = os.environ.get("NVMELAB_LAB_DIRECTORY") or HERE.parents[1] / ".cache" / "lab"
    return Lab(Path(chosen).resolve())


def command(words: list[str]) -> None:
    """Do what the command line says.

    Raises:
        LabError: it cannot be done, or makes no sense.
    """
    match words:
        case ["up", count] if count.isdecimal() and 1 <= int(count) <= MOST_HOSTS:
            lab().up(int(count))
        case ["down"]:
            lab().down()
        case ["stop", name]:
            host = lab().host(name)
            host.halt()
            host.wait_until_halted()
        case ["start", name]:
            host = lab().host(name)
            host.start()
            lab().wait([host])
        case ["image"]:
            print(lab_image.image(_made(lab().folder)))  # noqa: T201
        case _:
            raise LabError(f"{' '.join(words) or 'no command'}: not understood\n{__doc__}")


def main() -> int:
    """Run the command; 1 with one line on stderr when it fails."""
    if os.geteuid() != 0:
        print("labhosts: needs root", file=sys.stderr)  # noqa: T201
        return 1
    try:
        command(sys.argv[1:])
    except Exception as error:  # noqa: BLE001  (the last place that can say it in one line)
        print(f"labhosts: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
