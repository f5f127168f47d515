# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's proof: audited before and after, watched and held meanwhile, told in the verdicts."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_sysfs import CPU, FakeHost
from run_fakes import fake_fio, job, plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import audit, dma_latency
from ansible_collections.nvmelab.bench.plugins.module_utils.run import executor, leftovers
from ansible_collections.nvmelab.bench.plugins.module_utils.run import manifest as manifests
from ansible_collections.nvmelab.bench.plugins.module_utils.run.host_state import (
    Request,
    run_reasons,
)

ASKED = {"cpupower": {"governor": "performance", "dma_latency_us": 0}}
Run = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """The lab host whose settings are looked at."""
    made = FakeHost(tmp_path / "host").frequency().idle()
    made.put("proc/cmdline", "quiet")
    return made


def set_governor(host: FakeHost, name: str) -> None:
    """Have this governor on all CPUs."""
    for cpu in range(host.cpus):
        host.put(f"{CPU}/cpufreq/policy{cpu}/scaling_governor", name)


@pytest.fixture
def run(tmp_path: Path, host: FakeHost) -> Run:
    """Run one point whose fio does this first; the manifest and the point's record."""

    def execute(tuning: str, then: str = "", *, asked: Any = None) -> Any:
        made = job(tmp_path / "lab", plan(point(1)), fio=fake_fio(tmp_path, then))
        request = Request(tuning, ASKED if asked is None else asked, host.root)
        executor.execute(dataclasses.replace(made, host_state=request))
        return made.directory.manifest(), made.directory.record("0001")

    return execute


def codes(judged: dict[str, Any]) -> list[str]:
    """The codes of a manifest's or a record's verdict."""
    return [reason["code"] for reason in judged["verdict"]["reasons"]]


def test_off_looks_at_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No audit, no sensors; the keys are there and empty, the verdict is as ever."""
    monkeypatch.setattr(audit, "audit", lambda *_, **__: 1 / 0)
    manifest, record = run("off")
    assert (manifest["state"], manifest["tuning"], manifest["host_state"]) == (
        "complete",
        "off",
        None,
    )
    assert record["movement"] is None
    assert "host-state" not in codes(manifest) + codes(record)


def test_audit_tells_what_differs(run: Run) -> None:
    """Rows before and after; the point and the run carry the one reason that names all of it."""
    manifest, record = run("audit")
    section = manifest["host_state"]
    assert section["asked"] == ASKED
    for when in ("before", "after"):
        states = {row["knob"]: row["state"] for row in section[when]["rows"]}
        assert (states["governor"], states["dma_latency_us"]) == ("differs", "differs")
    (reason,) = (one for one in record["verdict"]["reasons"] if one["code"] == "host-state")
    assert reason["text"].startswith("2 of 2 settings are not as asked: governor powersave")
    assert codes(manifest).count("host-state") == 1
    assert record["movement"].keys() == {
        *("frequency_khz", "throttle_count", "cpu_pressure_percent", "temperature_c")
    }
    assert section["movement"]["point_count"] == 1


def test_clean_host_has_clean_rows(run: Run, host: FakeHost) -> None:
    """All as asked: no reason of ours in point or run."""
    set_governor(host, "performance")
    manifest, record = run("audit", asked={"cpupower": {"governor": "performance"}})
    ours = {"host-state", "changed-conditions", "frequency-moved"}
    assert not ours & {*codes(manifest), *codes(record)}


def test_enforce_holds_the_latency_for_the_run(
    run: Run, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for before the first audit, given back after the last; fio runs between."""
    calls: list[str] = []
    real_hold, real_audit = dma_latency.hold, audit.audit

    @contextlib.contextmanager
    def hold(latency_us: int | None, system: Path) -> Iterator[str | None]:
        calls.append(f"hold {latency_us}")
        with real_hold(latency_us, system) as problem:
            yield problem
        calls.append("let go")

    def noted(*args: Any, **more: Any) -> Any:
        calls.append("audit")
        return real_audit(*args, **more)

    monkeypatch.setattr(dma_latency, "hold", hold)
    monkeypatch.setattr(audit, "audit", noted)
    manifest, _ = run("enforce")
    assert calls == ["hold 0", "audit", "audit", "let go"]
    rows = {row["knob"]: row for row in manifest["host_state"]["before"]["rows"]}
    assert rows["dma_latency_us"]["state"] == "ok"


def test_audit_alone_holds_nothing(host: FakeHost) -> None:
    """The device is not written to, whatever is asked."""
    before = (host.root / dma_latency.DEVICE).read_bytes()
    with Request("audit", ASKED, host.root).held():
        assert (host.root / dma_latency.DEVICE).read_bytes() == before


def test_setting_that_moved_meanwhile_taints_the_run(run: Run, host: FakeHost) -> None:
    """As asked before and not after: the run says from what to what; the point knew nothing."""
    set_governor(host, "performance")
    files = f"{host.root}/{CPU}/cpufreq/policy*/scaling_governor"
    wish = {"cpupower": {"governor": "performance"}}
    moved = f"for file in {files}; do echo powersave > $file; done"
    manifest, record = run("audit", moved, asked=wish)
    assert "host-state" not in codes(record)
    texts = [one["text"] for one in manifest["verdict"]["reasons"]]
    assert any(
        text.startswith("governor was performance before and powersave after") for text in texts
    )


def test_host_that_cannot_be_audited_is_not_clean(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect costs neither the run nor the truth: measured, and tainted for lack of proof."""
    monkeypatch.setattr(audit, "audit", lambda *_, **__: 1 / 0)
    manifest, record = run("audit")
    assert manifest["state"] == "complete"
    assert "could not be audited before the run" in str(record["verdict"]["reasons"])
    assert "host-state" in codes(manifest)


def test_killed_run_has_no_proof_of_its_end(
    tmp_path: Path, run: Run, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found dead later: what was in force at its end is unknown, and the verdict says so."""
    set_governor(host, "performance")
    run("audit", asked={"cpupower": {"governor": "performance"}})
    made = job(tmp_path / "lab", plan(point(1)), fio="fio")
    ended = made.directory.manifest() or {}
    ended["host_state"]["after"] = None
    monkeypatch.setattr(type(made.directory), "manifest", lambda _: {**ended, "state": "running"})
    manifests.mark_interrupted(made.directory, leftovers.KILLED)
    monkeypatch.undo()
    texts = [one["text"] for one in (made.directory.manifest() or {})["verdict"]["reasons"]]
    assert any("could not be audited after the run" in text for text in texts)


def test_what_points_say_already_is_not_said_again() -> None:
    """Of the run itself only what its points do not have: no proof of the end, a clock that ran."""
    movement = {"frequency_khz": {"by_cpu": {"0": [2000000, 3000000]}}}
    section = {"before": {"rows": []}, "resumed": [], "after": None, "movement": movement}
    found = [reason["code"] for reason in run_reasons(section, [])]
    assert found == [audit.CODE, "frequency-moved"]
    for code in found:
        (other,) = run_reasons(section, [code])
        assert other["code"] != code


def test_continued_run_is_compared_with_its_beginning(
    tmp_path: Path, run: Run, host: FakeHost
) -> None:
    """First session's audit stays `before`; another governor in the second is a change."""
    wish = {"cpupower": {"governor": "powersave"}}
    run("audit", "exit 1", asked=wish)
    set_governor(host, "performance")
    manifest, record = run("audit", asked=wish)
    assert manifest["state"] == "complete"
    section = manifest["host_state"]
    states = [
        {row["knob"]: row["state"] for row in one["rows"]}["governor"]
        for one in (section["before"], *section["resumed"], section["after"])
    ]
    assert states == ["ok", "differs", "differs"]
    assert "host-state" in codes(record)
    assert "changed-conditions" in codes(manifest)


@pytest.mark.parametrize(
    ("tuning", "asked", "message"),
    [
        ("on", {}, "tuning: found 'on', wanted off, audit, enforce"),
        ("audit", {"cpupower": {"governer": "x"}}, "did you mean 'governor'"),
        ("enforce", {"cpupower": {"dma_latency_us": "low"}}, "wanted microseconds"),
    ],
)
def test_request_that_cannot_be_meant(tuning: str, asked: Any, message: str) -> None:
    """Refused before anything runs."""
    with pytest.raises(BadInputError, match=message):
        Request(tuning, asked).check()
