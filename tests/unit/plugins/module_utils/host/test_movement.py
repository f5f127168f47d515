# SPDX-License-Identifier: GPL-3.0-or-later
"""What moved during a point, and during a run of points."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fake_sysfs import CPU, FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.host import movement


class Machine(FakeHost):
    """A machine with everything that can move, and its clocks."""

    def stat(self, *busy_idle: tuple[int, int]) -> None:
        """Set each CPU's ticks."""
        lines = [f"cpu{n} {busy} 0 0 {idle} 0 0 0 0" for n, (busy, idle) in enumerate(busy_idle)]
        self.put("proc/stat", "\n".join(["cpu 0 0 0 0 0 0 0 0", *lines]))

    def frequency_of(self, cpu: int, khz: int) -> None:
        """Set what a CPU reads."""
        self.put(f"{CPU}/cpufreq/policy{cpu}/scaling_cur_freq", str(khz))

    def pressure(self, total_us: int) -> None:
        """Set for how long somebody has waited."""
        some = f"some avg10=0.00 avg60=0.00 avg300=0.00 total={total_us}"
        self.put("proc/pressure/cpu", f"{some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9")

    def temperature(self, c: int) -> None:
        """Set the package's temperature."""
        self.put("sys/class/hwmon/hwmon0/name", "coretemp")
        self.put("sys/class/hwmon/hwmon0/temp1_label", "Package id 0")
        self.put("sys/class/hwmon/hwmon0/temp1_crit", "100000")
        self.put("sys/class/hwmon/hwmon0/temp1_input", str(c * 1000))

    def throttles(self, count: int) -> None:
        """Set a core's counter."""
        self.put(f"{CPU}/cpu0/thermal_throttle/core_throttle_count", str(count))
        self.put(f"{CPU}/cpu0/thermal_throttle/package_throttle_count", "0")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by its only item."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine at rest."""
    made = Machine(tmp_path, cpus=2)
    made.frequency()
    made.stat((0, 0), (0, 0))
    made.pressure(0)
    made.temperature(40)
    made.throttles(3)
    return made


def test_point_by_hand(machine: Machine, clock: list[float]) -> None:
    """CPU 0 busy at 3.0, then at 2.0 GHz; CPU 1 idle; 0.5 of 10 s waited for; throttled twice."""
    watch = movement.Watch(movement.Sensors(machine.root))
    for step, khz in ((1, 3_000_000), (2, 2_000_000)):
        machine.stat((100 * step, 0), (1, 100 * step))
        machine.frequency_of(0, khz)
        machine.frequency_of(1, 800_000)
        watch.tick()
    machine.pressure(500_000)
    machine.temperature(71)
    machine.throttles(5)
    clock[0] += 10
    assert watch.end() == {
        "frequency_khz": {
            "min": 2_000_000,
            "median": 2_500_000,
            "max": 3_000_000,
            "by_cpu": {"0": [2_000_000, 3_000_000]},
        },
        "throttle_count": 2,
        "cpu_pressure_percent": 5.0,
        "temperature_c": {"before": 40.0, "after": 71.0, "critical": 100.0},
    }


def test_point_without_a_look_has_no_frequency(machine: Machine, clock: list[float]) -> None:
    """After fio has ended the CPUs are idle again: what they read then is not looked at."""
    watch = movement.Watch(movement.Sensors(machine.root))
    machine.frequency_of(0, 800_000)
    machine.stat((100, 0), (100, 0))
    clock[0] += 1
    assert watch.end()["frequency_khz"] is None


def test_host_that_tells_nothing(tmp_path: Path) -> None:
    """A container or an old kernel: every value is null, none is 0, and nothing fails."""
    watch = movement.Watch(movement.Sensors(tmp_path))
    watch.tick()
    assert set(watch.end().values()) == {None}


@pytest.mark.parametrize("after_us", [-5, 0, 99_999_999])
def test_pressure_is_a_share(machine: Machine, clock: list[float], after_us: int) -> None:
    """Clocks that tick apart give no share below 0 or above 100 %."""
    machine.pressure(10)
    watch = movement.Watch(movement.Sensors(machine.root))
    machine.pressure(10 + after_us)
    clock[0] += 1
    found = watch.end()["cpu_pressure_percent"]
    assert found == (100.0 if after_us > 0 else 0.0)


def test_cpu_that_goes_offline_meanwhile(machine: Machine, clock: list[float]) -> None:
    """Its files are gone: no reading of it, and no error."""
    watch = movement.Watch(movement.Sensors(machine.root))
    machine.stat((100, 0), (100, 0))
    machine.frequency_of(0, 2_000_000)
    watch.tick()
    (machine.root / CPU / "cpu0/thermal_throttle/core_throttle_count").unlink()
    clock[0] += 1
    found = watch.end()
    assert list(found["frequency_khz"]["by_cpu"]) == ["0"]
    assert found["throttle_count"] == 0  # the package's counter is still there


def record(number: int, movement_: dict[str, Any] | None, *others: Any) -> dict[str, Any]:
    """A point record, as far as the summary reads it."""
    named = [{"name": name, "pid": pid, "cpu_percent": cpu} for name, pid, cpu in others]
    load = {"busiest_others": named}
    return {"id": f"{number:04d}", "started_at": number, "movement": movement_, "load": load}


def moved(khz: int, temperature: float, count: int | None = 0, pressure: float = 0) -> Any:
    """What moved in a point whose CPU 0 was busy."""
    return {
        "frequency_khz": {"min": khz, "median": khz, "max": khz, "by_cpu": {"0": [khz, khz]}},
        "throttle_count": count,
        "cpu_pressure_percent": pressure,
        "temperature_c": {"before": temperature, "after": temperature + 5, "critical": None},
    }


def test_run_by_hand() -> None:
    """Sums, medians and extremes over the watched points, in the order they ran."""
    records = [
        record(3, moved(3000, 50, 2, 4), ("cron", 7, 2.0), ("apt", 8, 9.0)),
        record(1, moved(2000, 40, None, 1), ("apt", 8, 30.0)),
        record(2, moved(2500, 60, 1, 2)),
        record(4, None, ("sshd", 9, 99.0)),
    ]
    assert movement.summary(records) == {
        "point_count": 3,
        "frequency_khz": {"min": 2000, "median": 2500, "max": 3000, "by_cpu": {"0": [2000, 3000]}},
        "throttle_count": 3,
        "cpu_pressure_percent": {"median": 2, "max": 4},
        "temperature_c": {"before": 40, "after": 55, "max": 65, "critical": None},
        "busiest_others": [
            {"name": "apt", "pid": 8, "cpu_percent": 30.0},
            {"name": "cron", "pid": 7, "cpu_percent": 2.0},
        ],
    }


def test_run_that_was_not_watched() -> None:
    """Records of an older version have no such key: null, not a figure over nothing."""
    assert movement.summary([{"id": "0001", "started_at": 1.0}, record(2, None)]) is None
    nothing = dict.fromkeys(moved(0, 0))
    found = movement.summary([record(1, nothing)])
    assert found is not None
    assert {found[key] for key in nothing} == {None}
