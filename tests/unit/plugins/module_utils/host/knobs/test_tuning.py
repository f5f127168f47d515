# SPDX-License-Identifier: GPL-3.0-or-later
"""Tuning and restoring: what was before comes back, whatever happens in between."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from fake_sysfs import BOOT_ID, CPU, DRIVERS, FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import knob, record
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import KnobError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.tuning import (
    Outcome,
    restore,
    tune,
)

EPP = "energy_performance_preference"
KSM = "sys/kernel/mm/ksm/run"
FULL: dict[str, Any] = {
    "smt": False,
    "boost": False,
    "governor": "performance",
    "frequency_min_khz": 3000000,
    "frequency_max_khz": 3000000,
    "idle_latency_max_us": 2,
    "dma_latency_us": 3,
}


class Lab:
    """A fake host with a record, as the modules use them."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.path = host.root / "var/lib/nvmelab" / record.NAME

    def tune(self, run_id: str | None = None, *, check: bool = False, **settings: Any) -> Outcome:
        """Set cpupower settings."""
        return tune(self.host.root, self.path, "cpupower", settings, run_id, check_mode=check)

    def quiet(self, run_id: str | None = None, **settings: Any) -> Outcome:
        """Set quiet_host settings."""
        return tune(self.host.root, self.path, "quiet_host", settings, run_id)

    def restore(self, *groups: str, check: bool = False, only_run: bool = False) -> Outcome:
        """Put groups back; all by default."""
        return restore(
            self.host.root, self.path, groups or None, check_mode=check, only_run=only_run
        )

    def governor(self, cpu: int = 0) -> str:
        """Return what a policy has in force."""
        return self.host.get(f"{self.host.policy(cpu)}/scaling_governor")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """intel_pstate, idle states, SMT and KSM."""
    host = FakeHost(tmp_path / "host").frequency().idle().smt().install(monkeypatch)
    host.put(KSM, "1")
    return Lab(host)


@pytest.mark.parametrize("driver", DRIVERS)
def test_check_then_tune_then_nothing_then_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    """On every driver: check mode foretells and touches nothing, undo leaves the tree as it was."""
    host = FakeHost(tmp_path / "host").frequency(driver).idle().smt().install(monkeypatch)
    host.put(f"{host.policy(2)}/scaling_governor", "performance")
    lab, start = Lab(host), host.picture()
    foretold = lab.tune(check=True, **FULL)
    assert host.picture() == start
    made = lab.tune(**FULL)
    asked = [row for row in made.rows if row.asked]
    assert (made.changed, asked) == (True, [row for row in foretold.rows if row.asked])
    assert {row.state for row in made.rows if row.asked} == {"ok", "recorded"}
    writes = len(host.writes)
    again = lab.tune(**FULL)
    assert (again.changed, again.diff, again.rows) == (False, [], made.rows)
    assert len(host.writes) == writes
    tuned = host.picture()
    assert lab.restore(check=True).changed is True
    assert host.picture() == tuned
    back = lab.restore()
    assert (back.changed, back.remarks) == (True, [])
    assert host.picture() == start
    assert lab.restore() == Outcome(changed=False, rows=back.rows)


def test_the_diff_has_an_entry_for_each_knob(lab: Lab) -> None:
    """Before and after in the knob's words, the other way round for undo."""
    entry = {"before_header": "boost", "after_header": "boost"}
    wanted = [{**entry, "before": "on\n", "after": "off\n"}]
    assert lab.tune(boost=False, check=True).diff == wanted
    assert lab.tune(boost=False).diff == wanted
    back = lab.restore().diff
    assert back[0] == {**entry, "before": "off\n", "after": "on\n"}
    # What the kernel moved comes back too, and is shown.
    assert [part["before_header"] for part in back] == ["boost", "frequency_max_khz"]


def test_what_is_not_asked_is_not_touched(lab: Lab) -> None:
    """None is nothing; a write only where the value is another one."""
    lab.host.put(f"{lab.host.policy(1)}/scaling_governor", "performance")
    lab.host.put(f"{lab.host.policy(1)}/{EPP}", "performance")
    outcome = lab.tune(governor="performance", boost=None)
    places = [f"{lab.host.policy(cpu)}/scaling_governor" for cpu in (0, 2, 3)]
    assert lab.host.writes == [(place, "performance") for place in places]
    assert [entry["before_header"] for entry in outcome.diff] == ["governor"]


def test_the_limits_never_cross_on_the_way(lab: Lab) -> None:
    """The kernel refuses a minimum above its maximum: up, down and back again."""
    lab.tune(frequency_min_khz=1000000, frequency_max_khz=1500000)
    lab.tune(frequency_min_khz=3000000, frequency_max_khz=3000000)
    lab.tune(frequency_min_khz=900000, frequency_max_khz=900000)
    assert lab.restore().changed


def test_a_preference_is_set_after_the_governor_that_moves_it(lab: Lab) -> None:
    """It reads as asked before, and not any more once the governor has changed."""
    lab.tune(governor="performance")
    lab.host.writes.clear()
    lab.tune(governor="powersave", energy_performance_preference="performance")
    assert lab.host.get(f"{lab.host.policy(3)}/{EPP}") == "performance"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"boost": False, "governor": "ondemand"}, "this host offers performance, powersave"),
        ({"boost": False, "frequency_max_khz": 1}, "takes 800000 to 4200000 kHz"),
        ({"boost": False, "energy_perf_bias": 99}, "wanted a number of 0 to 15"),
        ({"governor": "performance", EPP: "power"}, "holds the preference at performance"),
        ({"boost": False, "turbo": True}, "no setting 'turbo'"),
        ({"irqbalance": False}, "no setting 'irqbalance'"),
    ],
)
def test_refusals_touch_nothing(lab: Lab, settings: dict[str, Any], words: str) -> None:
    """All is resolved before anything is written, the record included."""
    start = lab.host.picture()
    with pytest.raises(BadInputError, match=words):
        lab.tune(**settings)
    assert lab.host.picture() == start


def test_read_only_sysfs_touches_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, in check mode too; a host that is as asked is no failure."""
    start = lab.host.picture()
    monkeypatch.setattr(knob.os, "access", lambda path, _: "policy3" not in str(path))
    for check in (True, False):
        with pytest.raises(KnobError, match=r"policy3/.*found read-only, wanted writable"):
            lab.tune(check=check, boost=False, governor="performance")
    assert lab.host.picture() == start
    assert lab.tune(governor="powersave").changed is False


def test_read_only_sysfs_is_told_before_anything_is_put_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a restoring helps nobody: as it was tuned, and recorded, until it can be done."""
    lab.tune(boost=False, governor="performance")
    tuned = lab.host.picture()
    monkeypatch.setattr(knob.os, "access", lambda path, _: "policy3" not in str(path))
    for check in (True, False):
        with pytest.raises(KnobError, match=r"policy3/.*found read-only, wanted writable"):
            lab.restore(check=check)
    assert lab.host.picture() == tuned


def test_what_is_as_asked_already_is_not_recorded(lab: Lab) -> None:
    """Nothing was changed, so there is nothing to undo, and no file that says otherwise."""
    start = lab.host.picture()
    assert lab.tune("run-1", governor="powersave", boost=True).changed is False
    assert lab.host.picture() == start


def test_what_the_host_has_not_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VM with idle states only: one remark names the rest, and that is no failure."""
    lab = Lab(FakeHost(tmp_path / "host").idle().install(monkeypatch))
    outcome = lab.tune(governor="performance", boost=False, idle_latency_max_us=2)
    assert outcome.changed
    (remark,) = outcome.remarks
    assert remark.startswith("not available on this host, and left out: boost (no boost control")
    assert "governor (no CPU frequency policy" in remark
    states = {row.knob: row.state for row in outcome.rows if row.asked}
    assert states["governor"] == "unavailable"
    assert states["idle_latency_max_us"] == "ok"


def test_a_refusal_halfway_puts_back_what_was_changed(lab: Lab) -> None:
    """The kernel says no at the third policy: as before, no record, and the error names it."""
    start = lab.host.picture()
    lab.host.refuse[f"{lab.host.policy(2)}/scaling_governor"] = errno.EPERM
    with pytest.raises(
        KnobError, match=r"policy2.*forbids it\)\. What had been changed was put"
    ) as e:
        lab.tune(boost=False, governor="performance")
    assert "'performance' was refused: Operation not permitted" in str(e.value)
    assert lab.host.picture() == start


def test_a_value_that_the_kernel_changes_is_put_back(lab: Lab) -> None:
    """It takes 0 and uses 4: read back, told, and as before."""
    start = lab.host.picture()

    def clamp(name: str, value: str) -> None:
        if name.endswith("energy_perf_bias") and value == "0":
            lab.host.put(name, "4")

    lab.host.on_write.append(clamp)
    with pytest.raises(KnobError, match="energy_perf_bias: found 4 after it was written, wanted 0"):
        lab.tune(governor="performance", energy_perf_bias=0)
    assert lab.host.picture() == start


def test_what_cannot_be_put_back_stays_recorded(lab: Lab) -> None:
    """The kernel stops taking anything: named, kept, and undone once it does again."""
    start = lab.host.picture()

    def lock(name: str, value: str) -> None:
        lab.host.refuse[f"{CPU}/*"] = errno.EIO

    lab.host.on_write.append(lock)
    with pytest.raises(KnobError, match=r"Could not be put back: .*governor"):
        lab.tune(governor="performance")
    lab.host.on_write.clear()
    lab.host.refuse.clear()
    assert lab.restore().changed
    assert lab.host.picture() == start


@pytest.mark.parametrize("writes", range(1, 12))
def test_killed_at_any_write_it_can_be_undone(lab: Lab, writes: int) -> None:
    """The record is on the disk before the first write; even what the kernel moved comes back."""
    start = lab.host.picture()

    def kill(name: str, value: str) -> None:
        if len(lab.host.writes) == writes:
            raise KeyboardInterrupt

    lab.host.on_write.append(kill)
    with pytest.raises(KeyboardInterrupt):
        lab.tune("run-1", **{**FULL, "energy_perf_bias": 0})
    lab.host.on_write.clear()
    left = record.load(lab.path, lab.host.root)
    assert left is not None
    assert left.run_id == "run-1"
    assert lab.restore(only_run=True).remarks == []
    assert lab.host.picture() == start


def test_a_second_tuning_keeps_the_first_picture(lab: Lab) -> None:
    """Whatever is set on top, undo goes back to before the first."""
    start = lab.host.picture()
    lab.tune(governor="performance")
    lab.tune(governor="powersave", energy_performance_preference="power")
    lab.tune(boost=False)
    lab.quiet(ksm=False)
    lab.restore()
    assert lab.host.picture() == start


def test_groups_are_undone_one_by_one(lab: Lab) -> None:
    """The record goes with the last of them."""
    start = lab.host.picture()
    lab.tune(boost=False)
    lab.quiet(ksm=False)
    lab.restore("cpupower")
    assert lab.host.get(f"{CPU}/intel_pstate/no_turbo") == "0"
    assert lab.host.get(KSM) == "0"
    assert lab.restore("cpupower").changed is False
    assert lab.path.exists()
    lab.restore("quiet_host")
    assert lab.host.picture() == start


def test_a_reboot_voids_the_record(lab: Lab) -> None:
    """What the boot has made is the new start; nothing of the old is written."""
    lab.tune(boost=False)
    lab.host.put(BOOT_ID, "boot-2")
    lab.host.put(f"{CPU}/intel_pstate/no_turbo", "1")
    before = len(lab.host.writes)
    outcome = lab.restore()
    assert (outcome.changed, len(lab.host.writes)) == (False, before)
    assert "of an earlier boot" in outcome.remarks[0]
    assert not lab.path.parent.exists()
    start = lab.host.picture()
    lab.tune(governor="performance")
    lab.restore()
    assert lab.host.picture() == start


def test_tuning_after_a_reboot_begins_anew(lab: Lab) -> None:
    """The void record is no base for the next one."""
    lab.tune(governor="performance")
    lab.host.put(BOOT_ID, "boot-2")
    lab.host.written(lab.host.root / CPU / "intel_pstate/no_turbo", "1")
    assert "of an earlier boot" in lab.tune(check=True, boost=True).remarks[0]
    assert json.loads(lab.path.read_text())["boot_id"] == "boot-1"
    lab.tune(boost=True)
    assert list(json.loads(lab.path.read_text())["asked"]) == ["boost"]
    lab.restore()
    assert (lab.host.get(f"{CPU}/intel_pstate/no_turbo"), lab.governor()) == ("1", "performance")


def test_somebody_else_s_change_is_told_and_undone(lab: Lab) -> None:
    """Neither what was written nor what was before; what equals the former is silent."""
    start = lab.host.picture()
    lab.tune(governor="performance", energy_perf_bias=0)
    lab.host.put(f"{CPU}/cpu1/power/energy_perf_bias", "9")
    lab.host.put(f"{CPU}/cpu2/power/energy_perf_bias", "6")
    (remark,) = lab.restore(check=True).remarks
    assert remark.startswith(
        "energy_perf_bias: somebody else has set it to 9 since it was tuned to 0"
    )
    assert lab.restore().remarks == [remark]
    assert lab.host.picture() == start


def test_a_run_on_top_of_a_user_s_play(lab: Lab) -> None:
    """The run's end brings the user's values back; the user's undo the first ones."""
    start = lab.host.picture()
    lab.tune(governor="performance", energy_perf_bias=3)
    users = lab.host.picture()
    assert lab.restore(only_run=True).changed is False
    lab.tune("run-1", energy_perf_bias=0, boost=False)
    lab.quiet("run-1", ksm=False)
    lab.restore(only_run=True)
    assert {**lab.host.picture(), "x": ""} == {**users, "x": ""}
    lab.restore()
    assert lab.host.picture() == start


def test_both_layers_are_undone_at_once(lab: Lab) -> None:
    """restore.yml on a host that a run, killed, left on top of a user's play."""
    start = lab.host.picture()
    lab.tune(energy_perf_bias=3)
    lab.tune("run-1", energy_perf_bias=0, boost=False)
    assert lab.restore(check=True).diff[1]["after"] == "6\n"
    assert lab.restore().remarks == []
    assert lab.host.picture() == start


def test_layers_leave_no_folder_whichever_goes_first(lab: Lab) -> None:
    """The user's layer made the lab directory; it goes with the run's, which outlived it."""
    start = lab.host.picture()
    lab.quiet(ksm=False)
    lab.tune("run-1", governor="performance")
    lab.restore("quiet_host")
    assert lab.host.get(KSM) == "1"
    assert lab.governor() == "performance"
    lab.restore(only_run=True)
    assert lab.host.picture() == start


def test_a_user_s_play_takes_over_what_a_run_left(lab: Lab) -> None:
    """It is the user's now: no later run puts it back, the user's undo does, all of it."""
    start = lab.host.picture()
    lab.tune("run-1", boost=False)
    lab.tune(governor="performance")
    assert lab.restore(only_run=True).changed is False
    lab.restore()
    assert lab.host.picture() == start


def test_boost_of_a_single_policy_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boost for all, written first, sets every policy's: the one that was off is set again."""
    lab = Lab(FakeHost(tmp_path / "host").frequency("amd-pstate").install(monkeypatch))
    lab.host.put(f"{lab.host.policy(0)}/boost", "0")
    start = lab.host.picture()
    lab.tune(boost=False)
    lab.restore()
    assert lab.host.picture() == start


def test_siblings_come_back_as_they_were(lab: Lab) -> None:
    """Their policies vanish with SMT; a kernel that resets them on the way is corrected."""
    lab.host.put(f"{lab.host.policy(1)}/scaling_governor", "performance")
    lab.host.put(f"{lab.host.policy(1)}/{EPP}", "performance")
    lab.host.saved_epp[f"{lab.host.policy(1)}/{EPP}"] = "power"
    start = lab.host.picture()
    lab.tune(smt=False)

    def reset(name: str, value: str) -> None:
        if name.endswith("smt/control"):
            lab.host.put(f"{lab.host.policy(1)}/scaling_governor", "powersave")
            lab.host.put(f"{lab.host.policy(1)}/{EPP}", "power")

    lab.host.on_write.append(reset)
    lab.restore()
    assert lab.host.picture() == start


@pytest.mark.parametrize(("asked", "later"), [(None, "1"), ("2", "2")])
def test_interrupts_of_siblings_come_back(lab: Lab, asked: str | None, later: str) -> None:
    """The kernel moves them off an offline CPU; undone with SMT, unless asked for elsewhere."""
    place = "proc/irq/10/smp_affinity_list"
    lab.host.put("proc/irq/default_smp_affinity", "f")
    lab.host.put(place, "1")
    start = lab.host.picture()

    def move(name: str, value: str) -> None:
        if name.endswith("smt/control") and value == "off":
            lab.host.put(place, "0-3")

    lab.host.on_write.append(move)
    lab.tune(smt=False)
    lab.quiet(irq_cpus=asked)
    lab.restore("cpupower")
    assert lab.host.get(place) == later
    lab.restore()
    assert lab.host.picture() == start


def test_siblings_that_come_online_are_tuned_too(lab: Lab) -> None:
    """Asked together with SMT on: resolved anew once they are there."""
    lab.host.written(lab.host.root / CPU / "smt/control", "off")
    start = lab.host.picture()
    lab.tune(smt=True, governor="performance")
    assert [lab.governor(cpu) for cpu in range(4)] == ["performance"] * 4
    lab.restore()
    assert lab.host.picture() == start


def test_a_cpu_that_went_offline_is_told(lab: Lab) -> None:
    """By somebody else: it is left as it is, the others go back, and nothing stays recorded."""
    lab.tune(governor="performance")
    lab.host.unreadable[f"{lab.host.policy(3)}/*"] = errno.EBUSY
    outcome = lab.restore()
    assert "governor: 1 of 4 places are not there any more" in outcome.remarks[0]
    assert [lab.governor(cpu) for cpu in range(4)] == ["powersave"] * 3 + ["performance"]
    assert not lab.path.exists()


def test_what_refuses_to_go_back_stays_recorded(lab: Lab) -> None:
    """The rest is put back; the error names file and record; later it goes."""
    start = lab.host.picture()
    lab.tune(governor="performance", boost=False)
    lab.host.refuse[f"{CPU}/intel_pstate/no_turbo"] = errno.EPERM
    with pytest.raises(KnobError, match=r"boost: found off, wanted on as before.*no_turbo") as e:
        lab.restore()
    assert str(lab.path) in str(e.value)
    assert lab.governor() == "powersave"
    lab.host.refuse.clear()
    assert [entry["before_header"] for entry in lab.restore().diff] == [
        "boost",
        "frequency_max_khz",
    ]
    assert lab.host.picture() == start


def test_a_place_that_refuses_is_asked_once(lab: Lab) -> None:
    """The second round is for places that others moved; the error is told once."""
    lab.tune(boost=False)
    lab.host.refuse[f"{CPU}/intel_pstate/no_turbo"] = errno.EPERM
    with pytest.raises(KnobError) as refused:
        lab.restore()
    assert str(refused.value).count("Operation not permitted") == 1


def test_a_record_of_another_schema_is_left_alone(lab: Lab) -> None:
    """A newer nvmelab wrote it: what its words mean is not known here."""
    lab.tune(boost=False)
    content = json.loads(lab.path.read_text())
    lab.path.write_text(json.dumps({**content, "schema_version": 2}))
    tuned = lab.host.picture()
    with pytest.raises(KnobError, match=r"schema_version 2.*wanted .*schema 1"):
        lab.restore()
    assert lab.host.picture() == tuned


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema_version": 99, "under": null}'])
def test_a_record_that_cannot_be_understood(lab: Lab, text: str) -> None:
    """Nothing is written over it, and the error names it."""
    lab.path.parent.mkdir(parents=True)
    lab.path.write_text(text)
    start = lab.host.picture()
    with pytest.raises(NvmelabError, match=r"host_state\.json: found .*next: reboot the host"):
        lab.restore()
    with pytest.raises(NvmelabError, match=r"host_state\.json"):
        lab.tune(boost=False)
    assert lab.host.picture() == start


def test_the_record_is_as_documented(lab: Lab) -> None:
    """The whole snapshot, the touched places with those that may move, and what was asked."""
    lab.tune("run-1", governor="performance")
    content = json.loads(lab.path.read_text())
    assert (content["schema_version"], content["boot_id"], content["run_id"]) == (
        1,
        "boot-1",
        "run-1",
    )
    assert content["before"]["boost"] == {f"{CPU}/intel_pstate/no_turbo": "0"}
    assert set(content["touched"]) == {"governor", EPP, "energy_perf_bias", "frequency_min_khz"}
    assert content["written"][EPP][f"{lab.host.policy(0)}/{EPP}"] == "performance"
    assert content["asked"] == {"governor": "performance"}
    assert content["under"] is None
