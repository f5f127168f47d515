# SPDX-License-Identifier: GPL-3.0-or-later
"""irqbalance, and the services that set knobs back: with systemd, without, and failing."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_quiet import calls, put_tool, put_unit
from fake_sysfs import FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import (
    daemons,
    registry,
    services,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.irqbalance import (
    UNIT,
    Irqbalance,
    refuse_moved,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    KnobError,
    Reading,
)

KNOB = Irqbalance()


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A machine whose systemd runs irqbalance."""
    fake = FakeHost(tmp_path)
    put_unit(fake, UNIT, "loaded active")
    return fake


def test_stopped_and_started_never_disabled(host: FakeHost) -> None:
    """Two calls of systemctl, and the unit is as it was."""
    reading = KNOB.read(host.root)
    assert reading == Reading({UNIT: "active"}, allowed=("active", "inactive"))
    wished = KNOB.resolve(asked=False, reading=reading, system=host.root)
    assert KNOB.refusal(host.root, UNIT, wished[UNIT]) is None
    KNOB.write(host.root, UNIT, wished[UNIT])
    assert KNOB.read(host.root).values == wished == {UNIT: "inactive"}
    assert KNOB.describe(wished) == "off"
    KNOB.write(host.root, UNIT, "active")
    assert KNOB.read(host.root) == reading
    assert calls(host.root) == [f"systemctl stop {UNIT}", f"systemctl start {UNIT}"]


@pytest.mark.parametrize(
    ("state", "value"),
    [
        ("loaded activating", "active"),
        ("loaded reloading", "active"),
        ("loaded failed", "inactive"),
        ("loaded deactivating", "inactive"),
        ("masked inactive", "inactive"),
    ],
)
def test_states_of_a_unit(host: FakeHost, state: str, value: str) -> None:
    """States of systemd are told apart by whether the service will run or not."""
    put_unit(host, UNIT, state)
    assert KNOB.read(host.root).values == {UNIT: value}


def test_not_installed(host: FakeHost) -> None:
    """What is not there does not run: asked to be off is fulfilled, to be on is refused."""
    (host.root / "units" / UNIT).unlink()
    reading = KNOB.read(host.root)
    assert reading.note == "systemd says irqbalance.service is not-found"
    assert KNOB.resolve(asked=False, reading=reading, system=host.root) == reading.values
    with pytest.raises(BadInputError, match=r"irqbalance true: .*not-found.*next: install"):
        KNOB.resolve(asked=True, reading=reading, system=host.root)


def test_a_host_without_systemd(tmp_path: Path) -> None:
    """A process tells that it runs; stopping it is for the host's own init."""
    host = FakeHost(tmp_path)
    assert KNOB.read(host.root).values == {UNIT: "inactive"}
    host.put("proc/812/comm", "irqbalance")
    assert KNOB.read(host.root).values == {UNIT: "active"}
    assert "this host has no systemd" in (KNOB.refusal(host.root, UNIT, "inactive") or "")
    with pytest.raises(KnobError, match=r"no systemd"):
        KNOB.write(host.root, UNIT, "inactive")


def test_the_machine_that_runs_the_tests_is_out_of_reach(tmp_path: Path) -> None:
    """A systemd below the root, and no systemctl there: none is taken from elsewhere."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert services.systemctl(tmp_path) is None


def test_systemd_says_no(host: FakeHost) -> None:
    """The words of systemctl, the command and its status are in the message."""
    put_tool(host, "systemctl", "#!/bin/sh\necho 'Unit is masked.' >&2\nexit 5\n")
    with pytest.raises(
        KnobError, match=r"stop irqbalance.service: ended with status 5: Unit is masked."
    ):
        KNOB.write(host.root, UNIT, "inactive")


def test_systemd_does_not_answer(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline ends the wait."""
    monkeypatch.setattr(services, "_SHOW_S", 0.2)
    put_tool(host, "systemctl", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(KnobError, match=r"did not end within 0.2 s"):
        KNOB.read(host.root)


def test_a_tool_that_cannot_be_run(host: FakeHost) -> None:
    """Another machine's program: told, not a traceback."""
    put_tool(host, "systemctl", "\x7fELF nonsense")
    with pytest.raises(KnobError, match=r"systemctl show .*: cannot be run"):
        KNOB.read(host.root)


def test_an_answer_for_fewer_units(host: FakeHost) -> None:
    """Answers are matched by their order: one too few is an error, not a shift."""
    put_tool(host, "systemctl", "#!/bin/sh\necho LoadState=loaded\n")
    with pytest.raises(KnobError, match=r"9 units asked for, 1 told"):
        daemons.TuningDaemons().read(host.root)


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"irq_cpus": "0"}, True),
        ({"irq_cpus": "0", "irqbalance": True}, True),
        ({"irq_cpus": "0", "irqbalance": False}, False),
        ({"irqbalance": True}, False),
        ({"irq_cpus": None}, False),
    ],
)
def test_interrupts_that_would_be_moved_again(
    *, settings: dict[str, object], is_refused: bool
) -> None:
    """A wish that irqbalance undoes within ten seconds is refused, unless it is stopped."""
    values = {"proc/irq/24/smp_affinity_list": "0-3"}
    refuse_moved(settings, {"irq_cpus": Reading(values)})
    found = {"irq_cpus": Reading(values, moved_by="irqbalance")}
    if not is_refused:
        refuse_moved(settings, found)
        return
    with pytest.raises(BadInputError, match=r"irqbalance is active .*ask for irqbalance false"):
        refuse_moved(settings, found)


def test_daemons_that_fight_back(host: FakeHost) -> None:
    """The active ones, tuned with its profile, and which knobs each of them sets."""
    knob = daemons.TuningDaemons()
    assert knob.describe(knob.read(host.root).values) == "none"
    put_unit(host, "tuned.service", "loaded active")
    put_unit(host, "tlp.service", "loaded active")
    put_unit(host, "thermald.service", "loaded inactive")
    host.put("etc/tuned/active_profile", "balanced")
    reading = knob.read(host.root)
    assert knob.describe(reading.values) == "tuned (profile balanced), TLP"
    found = {"tuning_daemons": reading}
    assert daemons.fighters("governor", found) == ("tuned (profile balanced)", "TLP")
    assert daemons.fighters("thp", found) == ("tuned (profile balanced)",)
    assert daemons.fighters("swap", found) == ()
    assert daemons.fighters("governor", {}) == ()
    (host.root / "etc/tuned/active_profile").unlink()
    assert knob.describe(knob.read(host.root).values) == "tuned, TLP"


def test_daemons_without_systemd(tmp_path: Path) -> None:
    """Those that stay as a process are found by its name, cut as the kernel cuts it."""
    host = FakeHost(tmp_path)
    host.put("proc/700/comm", "power-profiles-daemon"[:15])
    host.put("proc/701/comm", "thermald")
    reading = daemons.TuningDaemons().read(host.root)
    assert reading.values == {daemons.PLACE: "power-profiles-daemon, thermald"}


def test_every_daemon_sets_knobs_that_there_are() -> None:
    """A misspelt name would never be told of."""
    named = {name for daemon in daemons.DAEMONS for name in daemon.knobs}
    assert named <= set(registry.BY_NAME)
