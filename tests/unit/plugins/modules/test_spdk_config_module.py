# SPDX-License-Identifier: GPL-3.0-or-later
"""An SPDK application is brought to a configuration once; every cause of a failure has its name.

Against a model of v25.05's answers always, and against the real nvmf_tgt where
NVMELAB_SPDK_DIRECTORY names a build.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.target import spdk_host
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_config import (
    Outcome,
    converge,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_objects import (
    Item,
    asked_items,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import SpdkRpc
from ansible_collections.nvmelab.bench.plugins.modules import spdk_config

FAKE = Path(__file__).parents[3] / "support/fake_nvmf_tgt.py"
REAL = os.environ.get("NVMELAB_SPDK_DIRECTORY")
NQN = "nqn.2019-07.io.spdk:a"


class Target:
    """A running nvmf_tgt, and what is asked of it."""

    def __init__(self, argv: list[str], root: Path) -> None:
        self.root, self.argv = root, argv
        self.rpc_path = root / "t.rpc"
        with (root / "log").open("w") as log:
            self.process = subprocess.Popen([*argv, "-r", str(self.rpc_path)], stdout=log,
                                            stderr=log)  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                with SpdkRpc(self.rpc_path) as rpc:
                    rpc.call("framework_wait_init")
                    return
            except NvmelabError:
                assert self.process.poll() is None, (root / "log").read_text()
                time.sleep(0.05)
        pytest.fail("the target was not ready in 60 s")

    def config(self, **more: Any) -> dict[str, Any]:
        """One device, changed as asked."""
        subsystem = {"nqn": NQN, "allow_any_host": True, "namespaces": [{"bdev": "N"}],
                     "listeners": [str(self.root / "a")]}  # fmt: skip
        return {"transports": [{"trtype": "VFIOUSER"}], "subsystems": [subsystem],
                "bdevs": [{"name": "N", "kind": "null", "size_mib": 4}], **more}  # fmt: skip

    def converge(self, config: dict[str, Any], **options: Any) -> Outcome:
        """Bring it there; folders below its own root are ours."""
        with SpdkRpc(self.rpc_path) as rpc:
            return converge(rpc, asked_items(config), **{"own_directory": self.root, **options})

    def stop(self) -> None:
        """End it, at the latest by force, and remove what it leaves outside of our folders."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)  # two that poll, on a busy machine
        finally:
            self.process.kill()
            self.process.wait()
            trace, folder = map(Path, spdk_host.left_behind(self.argv[0], self.process.pid))
            trace.unlink(missing_ok=True)
            if folder.is_dir():
                folder.rmdir()


PLAIN = ("--no-huge", "-s", "512", "--disable-cpumask-locks")
# What a client of another target needs to share its memory, in one piece.
SHARED = ("-s", "256", "-g", "-m", "0x2", "--disable-cpumask-locks")


def _programs(name: str, *more: str) -> list[Any]:
    missing = pytest.mark.skipif(
        not REAL, reason=f"NVMELAB_SPDK_DIRECTORY names no SPDK build: not run against {name}"
    )
    return [
        pytest.param([sys.executable, str(FAKE), *more], id=f"model-{name}"),
        pytest.param([f"{REAL}/build/bin/{name}", *PLAIN, *more], id=name, marks=missing),
    ]


@pytest.fixture(params=_programs("nvmf_tgt"))
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """A target without a configuration."""
    running = Target(request.param, tmp_path)
    yield running
    running.stop()


@pytest.fixture(params=_programs("vhost", "-S", "."))
def vhost(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Target]:
    """The program vhost, whose sockets lie in its working directory."""
    monkeypatch.chdir(tmp_path)
    running = Target(request.param, tmp_path)
    yield running
    running.stop()


@pytest.fixture
def client(target: Target, tmp_path: Path) -> Iterator[Target]:
    """A second target of the same kind, that can be the first one's client."""
    (tmp_path / "client").mkdir()
    program = [word for word in target.argv if word not in PLAIN]
    running = Target(program if "fake" in program[-1] else [*program, *SHARED], tmp_path / "client")
    yield running
    running.stop()


def test_a_controller_is_attached_once_and_detached(target: Target, client: Target) -> None:
    """As a real device is, but another target's over vfio-user, for want of one."""
    target.converge(target.config())
    words = {"trtype": "VFIOUSER", "traddr": str(target.root / "a")}
    controller = Item("controller", ("R",), words)
    subsystem = {"nqn": NQN, "namespaces": [{"bdev": "Rn1"}], "listeners": [str(client.root / "a")]}
    served = asked_items(client.config(bdevs=[], subsystems=[subsystem]))
    alone = asked_items({"transports": [{"trtype": "VFIOUSER"}]})

    def converge_to(*items: Item, **options: Any) -> Outcome:
        with SpdkRpc(client.rpc_path) as rpc:
            return converge(rpc, items, own_directory=client.root, **options)

    made = converge_to(*served, controller).change.add
    assert [item.kind for item in made] == [
        "transport", "controller", "subsystem", "namespace", "listener",
    ]  # fmt: skip
    assert not converge_to(*served, controller).changed
    again = Item("controller", ("S",), words)
    with pytest.raises(NvmelabError, match=r"controller S .*/a is already controller R"):
        converge_to(*served, controller, again)
    second = {"nqn": f"{NQN}b", "namespaces": [{"bdev": "Rn2"}]}
    with pytest.raises(NvmelabError, match=r"no bdev Rn2; there are Rn1"):
        converge_to(*asked_items({"subsystems": [second]}))
    gone = converge_to(*alone, exclusive=True).change.remove
    assert [item.kind for item in gone] == [
        "listener", "namespace", "subsystem", "subsystem", "controller",
    ]  # fmt: skip
    assert not converge_to(*alone, exclusive=True).changed


def test_a_second_time_changes_nothing(target: Target) -> None:
    """Check mode tells and does nothing; then once; then it is as asked."""
    assert target.converge(target.config(), check_mode=True).changed
    assert not (target.root / "a").exists()
    assert target.converge(target.config()).changed
    assert (target.root / "a/cntrl").is_socket()
    second = target.converge(target.config())
    assert not second.changed
    before, after = second.lines()
    assert before == after


def test_only_what_lacks_is_made(target: Target) -> None:
    """A second device leaves the first one alone; with exclusive the first one goes."""
    target.converge(target.config())
    other = target.config(
        bdevs=[{"name": "M", "kind": "malloc", "size_mib": 1}],
        subsystems=[{"nqn": f"{NQN}b", "namespaces": [{"bdev": "M"}]}],
    )
    added = target.converge(other)
    assert [item.kind for item in added.change.add] == ["bdev", "subsystem", "namespace"]
    alone = target.converge(other, exclusive=True)
    assert [item.kind for item in alone.change.remove] == [
        "listener", "namespace", "subsystem", "bdev",
    ]  # fmt: skip
    assert not (target.root / "a/cntrl").exists()
    assert not target.converge(other, exclusive=True).changed


def test_what_differs_is_an_error_unless_it_may_be_made_anew(target: Target) -> None:
    """A bdev of another size takes its namespace with it, and both come back."""
    target.converge(target.config())
    larger = target.config(bdevs=[{"name": "N", "kind": "null", "size_mib": 8}])
    with pytest.raises(NvmelabError, match=r"bdev N: blocks is 8192, asked for 16384; exclusive"):
        target.converge(larger)
    again = target.converge(larger, exclusive=True)
    assert [item.kind for item in again.change.add] == ["bdev", "namespace"]
    assert not target.converge(larger).changed


def test_all_that_can_be_asked_for_is_found_again(target: Target) -> None:
    """Each attribute is read back as asked; what SPDK tells of a transport must not differ."""
    options = {"max_io_qpairs_per_ctrlr": 8, "disable_mappable_bar0": True}
    subsystem = {"nqn": NQN, "serial_number": "S1", "model_number": "M 1", "max_namespaces": 4,
                 "allow_any_host": False, "namespaces": [{"bdev": "N", "nsid": 3}]}  # fmt: skip
    transport = {"trtype": "VFIOUSER", "options": options}
    config = target.config(transports=[transport], subsystems=[subsystem])
    assert target.converge(config).changed
    assert not target.converge(config).changed
    options["max_io_qpairs_per_ctrlr"] = 9
    with pytest.raises(NvmelabError, match=r"per_ctrlr is 8, asked for 9; SPDK changes no trans"):
        target.converge(config, exclusive=True)


def test_vhost_controllers(vhost: Target) -> None:
    """Made once, its socket in vhost's folder; another CPU mask needs it made anew."""
    controller = {"name": "v", "bdev": "N", "cpumask": "0x1"}
    config = {"bdevs": vhost.config()["bdevs"], "vhost_controllers": [controller]}
    assert vhost.converge(config).changed
    assert (vhost.root / "v").is_socket()
    assert not vhost.converge(config).changed
    with pytest.raises(NvmelabError, match=r"bdev N is already claimed by vhost v"):
        vhost.converge({**config, "vhost_controllers": [controller, {**controller, "name": "w"}]})
    alone = vhost.converge({"bdevs": config["bdevs"]}, exclusive=True)
    assert [item.kind for item in alone.change.remove] == ["vhost"]
    assert not (vhost.root / "v").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"bdevs": []}, r"namespace .*: no bdev N; there are none"),
        ({"vhost_controllers": [{"name": "v", "bdev": "N"}]}, "has no method vhost_create_blk"),
        (
            {"bdevs": [{"name": "R", "kind": "nvme", "bdf": "ffff:ff:1f.7"}]},
            "ffff:ff:1f.7: no such PCI device",
        ),
        ({"subsystems": [{"nqn": "disk"}]}, "subsystem 'disk': wanted an NQN"),
        ({"bdevs": [{"name": "N", "kind": "null"}]}, "bdev N: size_mib None: wanted 1 or more"),
    ],
)
def test_what_cannot_be_had_is_named(target: Target, more: dict[str, Any], said: str) -> None:
    """The cause is found before SPDK would hide it behind one code."""
    with pytest.raises(NvmelabError, match=said):
        target.converge(target.config(**more))


def test_a_bdev_serves_once(target: Target) -> None:
    """A claimed bdev is told with what has it."""
    target.converge(target.config())
    second = {"nqn": f"{NQN}b", "namespaces": [{"bdev": "N"}]}
    with pytest.raises(NvmelabError, match=rf"bdev N is already claimed by namespace {NQN} N"):
        target.converge(target.config(subsystems=[second]))


def test_a_stale_socket_goes_only_where_it_is_ours(target: Target) -> None:
    """Below our own folder it is removed; elsewhere refused, with the command to remove it."""
    (target.root / "a").mkdir()
    stale = target.root / "a/cntrl"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    with pytest.raises(NvmelabError, match=rf"{stale} is a stale socket, .*rm {stale}"):
        target.converge(target.config(), own_directory=None)
    assert stale.exists()
    target.converge(target.config())


def test_a_living_socket_is_never_removed(target: Target) -> None:
    """A folder in which another process listens is refused with its name and pid."""
    (target.root / "a").mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(target.root / "a/cntrl"))
        other.listen()
        with pytest.raises(NvmelabError, match=rf"in use by .*\(pid {os.getpid()}\)"):
            target.converge(target.config())


def test_a_missing_folder_elsewhere_is_named(target: Target) -> None:
    """Only below our own directory is a listener's folder made."""
    with pytest.raises(NvmelabError, match=r"no directory .*/a; make it first"):
        target.converge(target.config(), own_directory=None)


def test_the_module_as_ansible_runs_it(target: Target) -> None:
    """Arguments in, result and diff out."""
    code = (
        "import json, sys\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        f"from {spdk_config.__name__} import main\n"
        "with patch_module_args(json.load(sys.stdin)):\n    main()"
    )
    arguments = {**target.config(), "socket": str(target.rpc_path), "directory": str(target.root)}
    results = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], input=json.dumps(arguments), text=True,
                              capture_output=True, check=False)  # fmt: skip
        results.append(json.loads(done.stdout))
    assert [result["changed"] for result in results] == [True, False], results
    assert "transport VFIOUSER" in results[0]["diff"][0]["after"]
    assert results[1]["diff"] == []
