# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is asked for, in whatever order, refused or killed: undo leaves no trace."""

from __future__ import annotations

import errno
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_sysfs import CPU, DRIVERS, OWN_GOVERNORS, FakeHost
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import record
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.tuning import restore, tune

EPP = "energy_performance_preference"
STEPS_KHZ = [800000, 2000000, 3000000]
GOVERNORS = ["performance", "powersave", "schedutil"]
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "smt": st.booleans(),
        "boost": st.booleans(),
        "governor": st.sampled_from(GOVERNORS),
        EPP: st.sampled_from(["performance", "power", "balance_power"]),
        "energy_perf_bias": st.integers(-1, 16),
        "frequency_min_khz": st.sampled_from(STEPS_KHZ),
        "frequency_max_khz": st.sampled_from(STEPS_KHZ),
        "idle_latency_max_us": st.integers(0, 200),
    },
)
# Who tunes, what for, and at which write the play is killed or the kernel refuses (0: at none).
TUNINGS = st.lists(
    st.tuples(st.sampled_from([None, "run-1"]), WISHES, st.integers(0, 6), st.booleans()),
    max_size=4,
)


def machine(root: Path, driver: str, odd: list[int]) -> FakeHost:
    """A host whose CPUs in ``odd`` somebody has set to something else."""
    host = FakeHost(root / "host").frequency(driver).idle().smt()
    for cpu in odd:
        has_epp = (host.root / host.policy(cpu) / EPP).exists()
        governor = "performance" if driver in {"intel_pstate", "amd-pstate-epp"} else "powersave"
        host.put(f"{host.policy(cpu)}/scaling_governor", governor)
        if has_epp:
            host.put(f"{host.policy(cpu)}/{EPP}", "performance")
            host.saved_epp[f"{host.policy(cpu)}/{EPP}"] = "balance_power"
        host.put(f"{host.policy(cpu)}/scaling_max_freq", "2000000")
        host.put(f"{CPU}/cpu{cpu}/cpuidle/state2/disable", "1")
    return host


def one_tuning(host: FakeHost, path: Path, tuning: tuple[Any, ...]) -> None:
    """Tune; be killed at a write, or have the kernel refuse all after it but once."""
    run_id, wishes, number, is_killed = tuning
    first = len(host.writes)

    def disturb(name: str, value: str) -> None:
        if number and len(host.writes) - first == number:
            if is_killed:
                raise KeyboardInterrupt
            raise OSError(errno.EIO, "refused", name)

    host.on_write[:] = [disturb]
    with suppress(NvmelabError, KeyboardInterrupt):
        tune(host.root, path, "cpupower", wishes, run_id)
    host.on_write.clear()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(DRIVERS)), st.lists(st.integers(0, 3), unique=True), TUNINGS)
# A user's play takes over what a run has left on top of the user's own tuning, then a run comes
# again: what the first had set was two records down, where no undo looked.
@example(
    driver="intel_pstate",
    odd=[],
    tunings=[
        (None, {"boost": False}, 0, False),
        ("run-1", {"smt": False}, 0, False),
        (None, {"smt": False, "idle_latency_max_us": 0}, 0, False),
        ("run-1", {"smt": True}, 0, False),
    ],
)
def test_undo_leaves_no_trace(driver: str, odd: list[int], tunings: list[Any]) -> None:
    """After any sequence the tree is the one before the first, and the record is gone."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        host = machine(Path(folder), driver, odd).install(patch)
        path = host.root / "var/lib/nvmelab" / record.NAME
        start = host.picture()
        for tuning in tunings:
            one_tuning(host, path, tuning)
        restore(host.root, path)
        assert host.picture() == start


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(DRIVERS)), WISHES)
def test_check_mode_tells_what_will_be(driver: str, wishes: dict[str, Any]) -> None:
    """The same refusal, or the same rows and the same answer whether something changes."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        host = machine(Path(folder), driver, [1]).install(patch)
        path = host.root / "var/lib/nvmelab" / record.NAME
        start = host.picture()
        foretold = outcome(host, path, wishes, check=True)
        assert host.picture() == start
        assert outcome(host, path, wishes, check=False) == foretold
        if "schedutil" in str(foretold):
            assert wishes["governor"] not in OWN_GOVERNORS
        assert isinstance(foretold, str) or not outcome(host, path, wishes, check=True)[0]


def outcome(host: FakeHost, path: Path, wishes: dict[str, Any], *, check: bool) -> Any:
    """Return whether it changes something and the rows asked for, or the refusal."""
    try:
        found = tune(host.root, path, "cpupower", wishes, check_mode=check)
    except NvmelabError as error:
        return str(error)
    return found.changed, [row for row in found.rows if row.asked]
