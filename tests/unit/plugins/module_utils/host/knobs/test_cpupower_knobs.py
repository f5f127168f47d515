# SPDX-License-Identifier: GPL-3.0-or-later
"""Each knob of cpupower on the drivers that there are: what is read, what a wish means there."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from fake_sysfs import CPU, DRIVERS, FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import registry
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpupower import (
    refuse_together,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import find_places
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import Reading

EPP = "energy_performance_preference"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A machine with four CPUs, two cores; no driver yet."""
    return FakeHost(tmp_path / "host").install(monkeypatch)


def read(host: FakeHost, name: str) -> Reading:
    return registry.BY_NAME[name].read(host.root)


def resolve(host: FakeHost, name: str, asked: Any) -> dict[str, str]:
    return registry.BY_NAME[name].resolve(asked, read(host, name), host.root)


def word(host: FakeHost, name: str) -> str:
    return registry.BY_NAME[name].describe(read(host, name).values)


def set_to(host: FakeHost, name: str, asked: Any) -> str:
    """Write a wish; return what is in force then."""
    for place, value in resolve(host, name, asked).items():
        registry.BY_NAME[name].write(host.root, place, value)
    return word(host, name)


@pytest.mark.parametrize("driver", DRIVERS)
def test_boost_is_on_and_off_on_every_driver(host: FakeHost, driver: str) -> None:
    """Whichever file it is, and whichever way round; off and on again, no write refused."""
    host.frequency(driver)
    assert word(host, "boost") == "on"
    assert set_to(host, "boost", asked=False) == "off"
    assert set_to(host, "boost", asked=False) == "off"
    assert set_to(host, "boost", asked=True) == "on"


def test_no_turbo_is_boost_turned_round(host: FakeHost) -> None:
    """Boost off is a 1 in no_turbo."""
    host.frequency("intel_pstate")
    assert resolve(host, "boost", asked=False) == {f"{CPU}/intel_pstate/no_turbo": "1"}


def test_boost_of_one_policy_is_seen(host: FakeHost) -> None:
    """Linux 6.11 has a switch in each policy; the one for all comes first."""
    host.frequency("amd-pstate-epp").put(f"{host.policy(2)}/boost", "0")
    assert word(host, "boost") == "off (1), on (4)"
    assert next(iter(read(host, "boost").values)) == f"{CPU}/cpufreq/boost"
    assert set_to(host, "boost", asked=True) == "on"
    assert host.writes == [(f"{host.policy(2)}/boost", "1")]


def test_driver_and_mode_are_recorded(host: FakeHost) -> None:
    """What there is to be asked for depends on them."""
    host.frequency("intel_cpufreq")
    assert word(host, "cpufreq_driver") == "intel_cpufreq, passive"
    host.put(f"{CPU}/intel_pstate/status", "off")
    assert word(host, "cpufreq_driver") == "intel_cpufreq"


def test_a_virtual_machine_has_nothing(host: FakeHost) -> None:
    """No file, and each knob says why in a sentence; none raises."""
    for knob in registry.by_group("cpupower"):
        assert knob.read(host.root).unavailable, knob.name
        assert not knob.read(host.root).values


def test_the_policy_of_an_offline_cpu_answers_busy(host: FakeHost) -> None:
    """It stays in sysfs; it is no place to tune, and no error."""
    host.frequency("acpi-cpufreq").unreadable[f"{host.policy(3)}/*"] = errno.EBUSY
    assert len(read(host, "governor").values) == 3
    assert f"{host.policy(3)}/scaling_governor" not in resolve(host, "governor", "performance")


def test_a_driver_switched_off_answers_again(host: FakeHost) -> None:
    """intel_pstate/no_turbo gives EAGAIN when another driver is in use: that one's file counts."""
    host.frequency("acpi-cpufreq").put(f"{CPU}/intel_pstate/no_turbo", "0")
    host.unreadable[f"{CPU}/intel_pstate/no_turbo"] = errno.EAGAIN
    assert list(read(host, "boost").values) == [f"{CPU}/cpufreq/boost"]


def test_unreadable_is_not_absent(host: FakeHost) -> None:
    """A file for root only: readings say so instead of failing."""
    host.frequency("intel_pstate").unreadable[f"{CPU}/*/energy_perf_bias"] = errno.EACCES
    found = registry.readings(host.root)["energy_perf_bias"]
    assert "Permission denied; next: become root" in str(found.unavailable)


def test_governor_must_be_offered_by_all(host: FakeHost) -> None:
    """Kinds of cores may have different lists; the refusal names what is offered."""
    host.frequency("acpi-cpufreq")
    host.put(f"{host.policy(3)}/scaling_available_governors", "performance powersave")
    assert read(host, "governor").allowed == ("powersave", "performance")
    with pytest.raises(BadInputError, match="'ondemand': this host offers powersave, performance"):
        resolve(host, "governor", "ondemand")


def test_default_is_no_preference_to_ask_for(host: FakeHost) -> None:
    """It reads back as another word, so nobody could tell whether it is in force."""
    host.frequency("intel_pstate")
    with pytest.raises(BadInputError, match="'default'"):
        resolve(host, EPP, "default")


def together(host: FakeHost, **asked: Any) -> None:
    """Ask for several at once."""
    wished = {name: resolve(host, name, value) for name, value in asked.items()}
    refuse_together(wished, registry.readings(host.root))


@pytest.mark.parametrize("driver", ["intel_pstate", "amd-pstate-epp"])
def test_governor_performance_holds_the_preference(host: FakeHost, driver: str) -> None:
    """The kernel answers EBUSY then: told before anything is written."""
    host.frequency(driver)
    together(host, governor="powersave", energy_performance_preference="power")
    together(host, governor="performance", energy_performance_preference="performance")
    with pytest.raises(BadInputError, match="'power' with governor performance"):
        together(host, governor="performance", energy_performance_preference="power")
    set_to(host, "governor", "performance")
    with pytest.raises(BadInputError, match="ask for governor powersave"):
        together(host, energy_performance_preference="power")
    together(host, governor="powersave", energy_performance_preference="power")


def test_passive_mode_holds_nothing(host: FakeHost) -> None:
    """There the governor is the core's, and the preference is free."""
    host.frequency("intel_cpufreq")
    for cpu in range(host.cpus):
        host.put(f"{host.policy(cpu)}/{EPP}", "balance_power")
    together(host, governor="performance", energy_performance_preference="power")


def test_minimum_above_maximum_is_refused(host: FakeHost) -> None:
    """Asked for both, or one against what is there."""
    host.frequency("intel_pstate")
    with pytest.raises(BadInputError, match="frequency_min_khz 3000000 above frequency_max_khz 2"):
        together(host, frequency_min_khz=3000000, frequency_max_khz=2000000)
    host.put(f"{host.policy(1)}/scaling_min_freq", "2500000")
    with pytest.raises(BadInputError, match="policy1 would have frequency_min_khz 2500000"):
        together(host, frequency_max_khz=2000000)
    together(host, frequency_min_khz=2000000, frequency_max_khz=2000000)


@pytest.mark.parametrize("asked", [799999, 4200001])
def test_frequency_beyond_the_hardware_is_refused(host: FakeHost, asked: int) -> None:
    """The kernel would silently use the nearest; the refusal tells the range."""
    host.frequency("intel_pstate")
    with pytest.raises(BadInputError, match="takes 800000 to 4200000 kHz"):
        resolve(host, "frequency_max_khz", asked)


def test_frequency_beside_the_table_is_refused(host: FakeHost) -> None:
    """Drivers with a table have no others; boost's are in another file."""
    host.frequency("acpi-cpufreq")
    with pytest.raises(BadInputError, match="one of 3000000, 2000000, 800000 kHz"):
        resolve(host, "frequency_min_khz", 2500000)
    assert set(resolve(host, "frequency_min_khz", 2000000).values()) == {"2000000"}
    host.put(f"{host.policy(0)}/scaling_boost_frequencies", "3500000")
    with pytest.raises(BadInputError, match="policy1 takes one of"):
        resolve(host, "frequency_max_khz", 3500000)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("energy_perf_bias", 16),
        ("energy_perf_bias", -1),
        ("energy_perf_bias", True),
        ("frequency_min_khz", "fast"),
        ("idle_latency_max_us", -2),
        ("dma_latency_us", 3_000_000_000),
        ("boost", "maybe"),
        ("smt", "yes"),
    ],
)
def test_values_that_no_host_takes(host: FakeHost, name: str, asked: object) -> None:
    """Refused with the value and what is wanted."""
    host.frequency("intel_pstate").idle().smt()
    with pytest.raises(BadInputError, match=f"{name} {asked!r}: wanted "):
        resolve(host, name, asked)


@pytest.mark.parametrize(
    ("most", "disabled"),
    [
        (0, "state1, state2, state3 disabled"),
        (2, "state2, state3 disabled"),
        (132, "state3 disabled"),
        (133, "all states enabled"),
    ],
)
def test_idle_states_up_to_a_latency(host: FakeHost, most: int, disabled: str) -> None:
    """POLL takes no time and always stays; the bound itself is allowed."""
    host.idle()
    assert set_to(host, "idle_latency_max_us", most) == disabled


def test_idle_states_are_enabled_again_by_a_larger_bound(host: FakeHost) -> None:
    """But one that the driver had disabled from the start is left alone."""
    host.idle()
    host.put(f"{CPU}/cpu2/cpuidle/state1/default_status", "disabled")
    host.put(f"{CPU}/cpu2/cpuidle/state1/disable", "1")
    set_to(host, "idle_latency_max_us", 0)
    assert set_to(host, "idle_latency_max_us", 10) == "state1 on 1 of 4 CPUs, state3 disabled"


def test_the_driver_s_own_bit_is_not_ours(host: FakeHost) -> None:
    """`disable` reads 2 where the driver has disabled a state; only bit 0 can be written."""
    host.idle().put(f"{CPU}/cpu0/cpuidle/state3/disable", "2")
    assert read(host, "idle_latency_max_us").values[f"{CPU}/cpu0/cpuidle/state3/disable"] == "0"


def test_smt_is_read_as_the_kernel_says_it(host: FakeHost) -> None:
    """A forced off is off, and stays; a CPU without SMT has no such knob."""
    host.smt("on")
    assert (word(host, "smt"), resolve(host, "smt", asked=False)) == (
        "on",
        {f"{CPU}/smt/control": "off"},
    )
    host.smt("forceoff")
    assert resolve(host, "smt", asked=False) == {f"{CPU}/smt/control": "forceoff"}
    with pytest.raises(BadInputError, match="found forceoff"):
        resolve(host, "smt", asked=True)
    for control, words in {"notsupported": "has no SMT", "notimplemented": "cannot be"}.items():
        host.smt(control)
        assert words in str(read(host, "smt").unavailable)


def test_dma_latency_is_what_is_in_force(host: FakeHost) -> None:
    """Four bytes of the device; two thousand seconds is how the kernel says none."""
    host.idle()
    assert word(host, "dma_latency_us") == "no bound"
    (host.root / "dev/cpu_dma_latency").write_bytes((3).to_bytes(4, "little"))
    assert word(host, "dma_latency_us") == "3 µs"
    (host.root / "dev/cpu_dma_latency").write_bytes(b"")
    found = registry.readings(host.root)["dma_latency_us"]
    assert "cannot be read" in str(found.unavailable)


def test_places_are_in_the_order_of_their_numbers(host: FakeHost) -> None:
    """policy2 comes before policy10, so texts and writes do."""
    for cpu in (10, 2, 0):
        host.put(f"{host.policy(cpu)}/boost", "1")
    found = find_places(host.root, f"{CPU}/cpufreq/policy*/boost")
    assert found == [f"{host.policy(cpu)}/boost" for cpu in (0, 2, 10)]
