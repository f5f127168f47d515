# SPDX-License-Identifier: GPL-3.0-or-later
"""The executor: order, switching, losses. Guests are stand-ins; agents and files are real."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_fakes import fake_fio, job, launching, plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import GuestError
from ansible_collections.nvmelab.bench.plugins.module_utils.processes import Process
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    agent_connection,
    executor,
    guest_environment,
    guest_payload,
    guest_python,
    point_record,
    sweep,
    targets,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.manifest import draft


class FakeGuests:
    """Starts guests that are a local agent, and notes what is done to them."""

    def __init__(self, fio: str) -> None:
        self._fio = fio
        self.calls: list[str] = []
        self.boots_that_fail = 0
        self.is_dead = False

    def start(self, spec: dict[str, Any], **_: Any) -> Any:
        """Stand in for a guest's start."""
        name = spec["name"]
        self.calls.append(f"boot {name}")
        if self.boots_that_fail:
            self.boots_that_fail -= 1
            raise GuestError(f"{name}: no SSH banner")
        self.is_dead = False
        return SimpleNamespace(
            name=name,
            boot_s=1.5,
            argv=["qemu", name],
            ssh=SimpleNamespace(argv=lambda _: agent_connection.local_argv(self._fio, "test")),
            pause=lambda: self.calls.append(f"pause {name}"),
            resume=lambda: self.calls.append(f"resume {name}"),
            stop=lambda: self.calls.append(f"stop {name}"),
            check=self.check,
            device_address=lambda device: f"no-such-{device}",
        )

    def check(self) -> None:
        """Stand in for RunningGuest.check."""
        if self.is_dead:
            raise GuestError("guest-1: QEMU was killed by SIGKILL")


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGuests:
    """Guests without QEMU."""
    fakes = FakeGuests(fake_fio(tmp_path))
    # In a guest fio is called by its name.
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(guest_environment, "launch_guest", launching(fakes.start))
    return fakes


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Execute a plan of points; the manifest."""

    def execute(*points: dict[str, Any], fio: str | None = None) -> dict[str, Any]:
        made = job(tmp_path / "root", plan(*points), fio=fio or fake_fio(tmp_path))
        executor.execute(made)
        manifest = made.directory.manifest()
        assert manifest is not None
        assert not made.directory.reserve_path.exists()
        return manifest

    return execute


def test_points_run_in_plan_order(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """Each gets its own argv, in the order of the plan, and the run is complete."""
    seen = tmp_path / "seen"
    fio = fake_fio(tmp_path, f'echo "$@" >> {seen}')
    manifest = run(point(2), point(1), point(3), fio=fio)
    assert manifest["state"] == "complete"
    assert manifest["points_done"] == 3
    names = [line.split("--name=")[1].split()[0] for line in seen.read_text().splitlines()]
    assert names == ["stack-2-randread", "stack-1-randread", "stack-3-randread"]


def test_guest_is_paused_while_the_host_measures(
    run: Callable[..., dict[str, Any]], guests: FakeGuests
) -> None:
    """Booted once, paused for the host's point, resumed, stopped after its last point."""
    points = [point(1, "guest-1"), point(2), point(3, "guest-1"), point(4)]
    manifest = run(*points)
    assert manifest["state"] == "complete"
    assert guests.calls == ["boot guest-1", "pause guest-1", "resume guest-1", "stop guest-1"]
    assert manifest["commands"] == {"guest-1": {"qemu": ["qemu", "guest-1"]}}
    assert manifest["durations_s"]["guest_boot"] == 1.5


def test_one_guest_at_a_time(run: Callable[..., dict[str, Any]], guests: FakeGuests) -> None:
    """Another guest environment is stopped, not paused: two guests' memory may not fit."""
    points = [point(1, "guest-1"), point(2, "guest-2"), point(3, "guest-1")]
    assert run(*points)["state"] == "complete"
    assert guests.calls == [
        *("boot guest-1", "stop guest-1", "boot guest-2", "stop guest-2"),
        *("boot guest-1", "stop guest-1"),
    ]


def test_a_device_that_was_not_taken_fails_its_stacks_points_only(
    tmp_path: Path, guests: FakeGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause is the guest's; the guest's other points are measured, and it is not lost."""
    why = "0000:00:10.0: /dev/nvme1n1 is mounted on /srv: in use"
    answer = {"before": {}, "refused": {"no-such-taken": why}, "hugepages_free": None,
              "not_mounted": None}  # fmt: skip
    monkeypatch.setattr(guest_python, "call", lambda *_, **__: answer)
    whole = plan(point(1, "guest-1", device="taken"), point(2, "guest-1"))
    device = {"name": "taken", "slot": 16, "driver": "uio_pci_generic"}
    whole["environments"]["guest-1"]["guest"]["devices"] = [device]
    made = job(tmp_path / "root", whole, fio=fake_fio(tmp_path))
    assert executor.execute(made) == "partial"
    manifest = made.directory.manifest()
    assert manifest is not None
    assert manifest["points_failed"] == [{"id": "0001", "reason": why}]
    assert guests.calls == ["boot guest-1", "stop guest-1"]


def test_a_payloads_fio_drives_all_points_of_guests(
    tmp_path: Path, guests: FakeGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent after each boot, called by its own path; the host's points keep the host's fio.

    Of its other programs those are sent that the guest uses, as the plan says.
    """
    sent: list[Any] = []

    def send(payload: Any, _ssh: Any, *, programs: Any) -> None:
        sent.append((payload["paths"], list(programs)))

    monkeypatch.setattr(guest_payload, "send", send)
    (tmp_path / "build").mkdir()
    built = fake_fio(tmp_path / "build")
    payload = {"paths": ["/b"], "fio": {"path": built}, "programs": {"perf": {"path": "/p"}}}
    whole = plan(point(1, "guest-1"), point(2))
    whole["environments"]["guest-1"]["guest"]["programs"] = ["perf"]
    made = job(tmp_path / "root", whole, fio=fake_fio(tmp_path))
    made = dataclasses.replace(made, capabilities={**made.capabilities, "guest_payload": payload})
    assert executor.execute(made) == "complete"
    assert sent == [(["/b"], ["perf"])]
    records = [json.loads(made.directory.record_path(one).read_text()) for one in ("0001", "0002")]
    assert [record["argv"][0] for record in records] == [built, f"{tmp_path}/fio"]


def test_guest_that_does_not_boot_costs_its_stretch_only(
    run: Callable[..., dict[str, Any]], guests: FakeGuests
) -> None:
    """The host's points and, after one fresh boot, the guest's next stretch are measured."""
    guests.boots_that_fail = 1
    manifest = run(point(1, "guest-1"), point(2, "guest-1"), point(3), point(4, "guest-1"))
    assert manifest["state"] == "partial"
    assert manifest["points_failed"] == [
        {"id": "0001", "reason": "guest-1: no SSH banner"},
        {"id": "0002", "reason": "not run: guest-1: no SSH banner"},
    ]


def test_guest_is_given_up_after_its_second_loss(
    run: Callable[..., dict[str, Any]], guests: FakeGuests
) -> None:
    """A third boot is not tried; the message says that it was given up, and why."""
    guests.boots_that_fail = 9
    points = [point(number, "guest-1", repetition=number) for number in (1, 2, 3)]
    manifest = run(*points)
    assert manifest["state"] == "failed"
    assert guests.calls == ["boot guest-1", "boot guest-1"]
    assert manifest["points_failed"][2]["reason"] == (
        "not run: guest-1 was given up after 2 losses; the last: guest-1: no SSH banner"
    )


def test_death_in_mid_sweep_is_told_by_its_cause(
    run: Callable[..., dict[str, Any]],
    guests: FakeGuests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The point under way has failed for QEMU's death; the next stretch gets a fresh guest."""
    conclude = point_record.conclude

    def die_after_the_first(*args: Any) -> dict[str, Any]:
        record = conclude(*args)
        guests.is_dead = record["id"] == "0001"
        return record

    monkeypatch.setattr(point_record, "conclude", die_after_the_first)
    fake_fio(tmp_path, "case $* in *stack-2*) exec sleep 60;; esac")
    points = [point(1, "guest-1"), point(2, "guest-1"), point(3, "guest-1", repetition=2)]
    manifest = run(*points, fio=str(tmp_path / "fio"))
    dead = "guest-1: QEMU was killed by SIGKILL"
    assert manifest["points_failed"] == [{"id": "0002", "reason": dead}]
    assert guests.calls == ["boot guest-1", "stop guest-1", "boot guest-1", "stop guest-1"]


def test_a_target_that_crashed_on_stop_is_a_remark(
    tmp_path: Path, guests: FakeGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is kept in the manifest, also of an earlier session; no point has failed for it."""

    def start_target(spec: dict[str, Any], **_: Any) -> Any:
        return SimpleNamespace(
            name=spec["name"], argv=["nvmf_tgt"], sockets={}, check=lambda: None,
            process=Process("t", 1 << 30, 0, (), ""), stop=lambda: f"{spec['name']} crashed",
        )  # fmt: skip

    monkeypatch.setattr(targets, "start_target", start_target)
    whole = plan(point(1, "guest-1"))
    whole["environments"]["guest-1"]["targets"] = [{"name": "a"}, {"name": "b"}]
    made = job(tmp_path / "root", whole, fio=fake_fio(tmp_path))
    executor.execute(made)
    manifest = made.directory.manifest() or {}
    assert sorted(manifest["remarks"]) == ["a crashed", "b crashed"]
    assert manifest["state"] == "complete"
    assert draft(whole, {}, manifest)["remarks"] == manifest["remarks"]


# An agent whose fio on the first point waits for ever for a device that never answers.
STUCK_AGENT = """
import json, sys
print('{"event": "hello"}', flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"event": "started", "id": asked["id"], "argv": asked["argv"]}), flush=True)
    print(json.dumps({"event": "finished", "id": asked["id"], "stuck": [12, 13]}), flush=True)
"""


def test_fio_that_cannot_be_killed_costs_its_guest(tmp_path: Path, guests: FakeGuests) -> None:
    """The point names limit and pids, the rest of the stretch is not run, the guest is ended."""
    points = [point(1, "guest-1", limit_s=7.0), point(2, "guest-1")]
    made = job(tmp_path / "root", plan(*points), fio=fake_fio(tmp_path))
    executor.execute(dataclasses.replace(made, agent_source=STUCK_AGENT))
    manifest = made.directory.manifest()
    assert manifest is not None
    cause = (
        "fio did not end within 7 s and cannot be killed (pid 12, 13 there): "
        "the device does not answer"
    )
    assert manifest["points_failed"] == [
        {"id": "0001", "reason": cause},
        {"id": "0002", "reason": f"not run: {cause}"},
    ]
    assert guests.calls == ["boot guest-1", "stop guest-1"]


@pytest.mark.parametrize(
    ("more", "limit_s"),
    [({"limit_s": 7.5}, 7.5), ({"expected_s": 1.0}, 61.0), ({"expected_s": 100.0}, 300.0)],
)
def test_a_point_hangs_when_the_plan_says_so(more: dict[str, float], limit_s: float) -> None:
    """As the plan says; without a word a minute longer than expected, and three times as long."""
    assert sweep.limit_for(point(1, **more)) == limit_s


@pytest.mark.parametrize("missing", ["qemu", "guest_image"])
def test_host_without_guests_says_so(tmp_path: Path, missing: str) -> None:
    """A plan that needs what the host lacks fails with the remedy, not with a traceback."""
    made = job(tmp_path, plan(point(1, "guest-1")), fio=fake_fio(tmp_path))
    made = dataclasses.replace(made, capabilities={**made.capabilities, missing: None})
    assert executor.execute(made) == "failed"
    assert f"run the role {missing}" in (made.directory.record("0001") or {})["reason"]


def test_fio_missing_fails_the_place_at_once(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """No second try, as nothing would change; every point says what to do."""
    manifest = run(point(1), point(2, repetition=2), fio=str(tmp_path / "nowhere"))
    assert manifest["state"] == "failed"
    assert all("install fio there" in one["reason"] for one in manifest["points_failed"])


def test_failing_fio_costs_one_point(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """The next point runs through the same agent."""
    fio = fake_fio(tmp_path, "case $* in *stack-2*) echo 'fio: broke' >&2; exit 1;; esac")
    manifest = run(point(1), point(2), point(3), fio=fio)
    assert manifest["state"] == "partial"
    assert manifest["points_failed"] == [
        {"id": "0002", "reason": "fio ended with exit code 1: fio: broke"}
    ]


def test_finished_points_are_not_run_again(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """The second execution runs the failed point only, and then the run is complete."""
    seen = tmp_path / "seen"
    bad = fake_fio(tmp_path, f'echo x >> {seen}; case "$*" in *stack-2*) exit 1;; esac')
    points = [point(1), point(2), point(3)]
    assert run(*points, fio=bad)["points_done"] == 2
    good = fake_fio(tmp_path, f"echo y >> {seen}")
    manifest = run(*points, fio=good)
    assert (manifest["state"], len(manifest["resumed_at"])) == ("complete", 1)
    assert seen.read_text().split() == ["x", "x", "x", "y"]


def test_full_disk_ends_the_run_and_keeps_what_was_measured(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No further point is tried; the manifest is written nevertheless and says what to do."""
    write_text = atomic_file.write_text

    def full_at_the_second(path: Path, text: str, *, durable: bool = True) -> None:
        if path.name == "0002.fio.json":
            raise atomic_file.FileWriteError(path, OSError(28, "No space left on device"))
        write_text(path, text, durable=durable)

    monkeypatch.setattr(atomic_file, "write_text", full_at_the_second)
    manifest = run(point(1), point(2), point(3))
    assert (manifest["state"], manifest["points_done"]) == ("partial", 1)
    assert "No space left on device; free space there" in manifest["reason"]
    assert manifest["points_failed"] == []


def test_interruption_is_no_failure_of_points(
    run: Callable[..., dict[str, Any]], guests: FakeGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest is stopped, what was measured is kept, the rest has no record."""
    conclude = point_record.conclude

    def interrupted(*args: Any) -> dict[str, Any]:
        conclude(*args)
        raise executor.InterruptedRun("somebody pressed Ctrl-C")

    monkeypatch.setattr(point_record, "conclude", interrupted)
    manifest = run(point(1, "guest-1"), point(2, "guest-1"))
    assert (manifest["state"], manifest["reason"]) == ("interrupted", "somebody pressed Ctrl-C")
    assert (manifest["points_done"], manifest["points_failed"]) == (1, [])
    assert guests.calls == ["boot guest-1", "stop guest-1"]


def test_defect_of_ours_is_told_as_such(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen error does not cost the record of the run."""
    monkeypatch.setattr(point_record, "conclude", lambda *_: 1 / 0)
    manifest = run(point(1))
    assert manifest["state"] == "failed"
    assert manifest["reason"] == "defect of nvmelab: ZeroDivisionError: division by zero"


def test_host_file_is_there_for_its_points_only(tmp_path: Path) -> None:
    """The RAM file is given to fio by path, has its size, and is gone afterwards."""
    seen = tmp_path / "seen"
    size = f'case $word in --filename=*) stat -c %s "${{word#*=}}" > {seen};; esac'
    fio = fake_fio(tmp_path, f'for word in "$@"; do {size}; done')
    whole = plan(point(1, device="ram-file"))
    backend = {"kind": "ram", "size_mib": 1}
    whole["environments"]["host"]["host_files"] = [{"name": "ram-file", "backend": backend}]
    made = job(tmp_path, whole, fio=fio)
    assert executor.execute(made) == "complete"
    assert seen.read_text() == f"{1 << 20}\n"
    argv = (made.directory.record("0001") or {})["argv"]
    path = next(word.partition("=")[2] for word in argv if word.startswith("--filename="))
    assert not Path(path).exists()


def test_absent_device_fails_its_point_only(
    run: Callable[..., dict[str, Any]], guests: FakeGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest lives on; the point says which PCI device was looked for."""
    monkeypatch.setattr(sweep, "DEVICE_DEADLINE_S", 0.1)
    manifest = run(point(1, "guest-1", device="disk"), point(2, "guest-1"))
    assert [one["id"] for one in manifest["points_failed"]] == ["0001"]
    assert "no PCI device no-such-disk" in manifest["points_failed"][0]["reason"]
    assert guests.calls == ["boot guest-1", "stop guest-1"]
