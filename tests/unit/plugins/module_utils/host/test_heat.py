# SPDX-License-Identifier: GPL-3.0-or-later
"""Thermometers and throttle counters: which ones speak for the CPU."""

from __future__ import annotations

from pathlib import Path

from fake_sysfs import CPU, FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.host import heat

HWMON = "sys/class/hwmon"


def chip(host: FakeHost, number: int, name: str, **files: str) -> None:
    """Put a chip with these files, e.g. temp1_input."""
    host.put(f"{HWMON}/hwmon{number}/name", name)
    for file, text in files.items():
        host.put(f"{HWMON}/hwmon{number}/{file}", text)


def test_package_speaks_for_its_cores(tmp_path: Path) -> None:
    """Two coretemp packages: one thermometer each, the hottest counts; a disk's is none of ours."""
    host = FakeHost(tmp_path)
    chip(host, 0, "nvme", temp1_input="90000")
    cores = {"temp2_input": "99000", "temp2_label": "Core 0"}
    package = {"temp1_label": "Package id 0", "temp1_crit": "100000", "temp1_input": "61500"}
    chip(host, 1, "coretemp", **cores, **package)
    chip(host, 2, "coretemp", **{**package, "temp1_input": "48000", "temp1_crit": "95000"})
    found = heat.thermometers(tmp_path)
    assert (len(found), heat.hottest(found), heat.critical(found)) == (2, 61.5, 95.0)


def test_amd_has_one_label_of_several(tmp_path: Path) -> None:
    """k10temp: Tctl, not the chiplets; no critical temperature is told."""
    host = FakeHost(tmp_path)
    labels = {"temp1_label": "Tctl", "temp3_label": "Tccd1"}
    chip(host, 0, "k10temp", temp1_input="45250", temp3_input="70000", **labels)
    found = heat.thermometers(tmp_path)
    assert (heat.hottest(found), heat.critical(found)) == (45.25, None)


def test_first_sensor_where_none_is_labelled(tmp_path: Path) -> None:
    """temp1 is before temp10."""
    chip(FakeHost(tmp_path), 0, "k10temp", temp10_input="80000", temp1_input="40000")
    assert heat.hottest(heat.thermometers(tmp_path)) == 40.0


def test_thermal_zone_where_no_chip_is(tmp_path: Path) -> None:
    """The CPU's zone with its critical trip point; the board's zone is not asked."""
    host = FakeHost(tmp_path)
    for number, kind, temperature in ((0, "acpitz", "27800"), (1, "x86_pkg_temp", "52000")):
        zone = f"sys/class/thermal/thermal_zone{number}"
        host.put(f"{zone}/type", kind)
        host.put(f"{zone}/temp", temperature)
        host.put(f"{zone}/trip_point_0_type", "passive")
        host.put(f"{zone}/trip_point_0_temp", "60000")
        host.put(f"{zone}/trip_point_1_type", "critical")
        host.put(f"{zone}/trip_point_1_temp", "105000")
    found = heat.thermometers(tmp_path)
    assert (heat.hottest(found), heat.critical(found)) == (52.0, 105.0)


def test_absurd_threshold_is_none(tmp_path: Path) -> None:
    """A driver's default of 2^31 or of 0 is no limit that a CPU could reach."""
    host = FakeHost(tmp_path)
    for number, text in enumerate(("2147483", "0")):
        chip(host, number, "coretemp", temp1_input="40000", temp1_crit=text + "000")
    assert heat.critical(heat.thermometers(tmp_path)) is None


def test_host_without_thermometer(tmp_path: Path) -> None:
    """As in a VM: not measured."""
    FakeHost(tmp_path)
    assert heat.thermometers(tmp_path) == []
    assert heat.hottest([]) is None


def throttles(host: FakeHost, cpu: int, core: int, package: int) -> None:
    """Put a CPU's place and its counters, at cpu + 1 and 10 * (cpu + 1)."""
    host.put(f"{CPU}/cpu{cpu}/topology/core_id", str(core))
    host.put(f"{CPU}/cpu{cpu}/topology/physical_package_id", str(package))
    host.put(f"{CPU}/cpu{cpu}/thermal_throttle/core_throttle_count", str(cpu + 1))
    host.put(f"{CPU}/cpu{cpu}/thermal_throttle/package_throttle_count", str(10 * (cpu + 1)))


def test_siblings_count_once(tmp_path: Path) -> None:
    """Two packages of one core with two threads each: 2 core counters, 2 of packages."""
    host = FakeHost(tmp_path)
    for cpu, (core, package) in enumerate([(0, 0), (0, 0), (0, 1), (0, 1)]):
        throttles(host, cpu, core, package)
    found = heat.throttle_counts(heat.throttle_files(tmp_path))
    assert sorted(found.values()) == [1, 3, 10, 30]


def test_throttled_is_the_growth() -> None:
    """By hand: 2 + 0; a counter that went back or is gone tells nothing; none at all is None."""
    assert heat.throttled({"a": 5, "b": 1, "c": 9, "d": 4}, {"a": 7, "b": 1, "c": 0}) == 2
    assert heat.throttled({"a": 5}, {"a": 4}) is None
    assert heat.throttled({}, {}) is None
