# SPDX-License-Identifier: GPL-3.0-or-later
"""The condition of the host: what is not as asked stands out, what is not known is not clean."""

from __future__ import annotations

from typing import Any

from fake_host_states import SETTINGS, audited, host_state, setting
from fake_runs import Lab, fake_run, manifest

from nvmelab.show import conditions, movement
from nvmelab.show.host_state import audit, effective
from nvmelab.show.summary import summarise
from nvmelab.store.records import Run


def run_with(state: Any, tuning: str | None = "audit") -> Run:
    return Run.from_parts(manifest(tuning=tuning, host_state=state), [])


def test_the_worse_of_before_and_after_counts():
    """As asked before and not after is not as asked, and changed."""
    before = [setting("ksm", "off", "off", "ok")]
    after = [setting("ksm", "off", "on", "differs", text="ksm is on, wanted off")]
    (one,) = audit(run_with(host_state(before, after))).settings
    assert (one.before, one.after, one.state) == ("off", "on", "differs")
    assert one.is_changed
    (back,) = audit(run_with(host_state(after, before))).settings
    assert back.state == "differs"


def test_the_remark_is_what_the_columns_do_not_say():
    """Found and asked have columns; who sets it back, and why a setting is absent, have not."""
    texts = {
        "governor is powersave, wanted performance": "",
        "governor is powersave, wanted performance; active, and may set it: tuned": (
            "active, and may set it: tuned"
        ),
        "governor is powersave, as asked": "",
        "governor is powersave (4 CPUs are offline)": "(4 CPUs are offline)",
        "governor is not available: no CPU frequency policy": "no CPU frequency policy",
        "the running kernel lacks nosmt": "the running kernel lacks nosmt",
    }
    for text, remark in texts.items():
        rows = [setting("governor", "performance", "powersave", "differs", text=text)]
        (one,) = audit(run_with(host_state(rows))).settings
        assert one.text == remark
        assert one.told == "powersave, asked performance" + (f"; {remark}" if remark else "")


def test_a_change_of_what_nobody_asked_for_is_notable():
    """A recorded value that moved during the run is shown with those that differ."""
    states = ([setting("smt", None, value, "recorded")] for value in ("on", "off"))
    found = audit(run_with(host_state(*states)))
    assert [one.knob for one in found.notable] == ["smt"]
    assert found.rest == []


def test_notable_first_the_rest_by_state():
    """Only what differs or moved is unfolded; then absent, recorded, and as asked."""
    found = audit(run_with(host_state()))
    assert [one.name for one in found.notable] == [
        "cpupower.governor", "cpupower.boost", "kernel_cmdline",
    ]  # fmt: skip
    assert [one.state for one in found.rest] == (["unavailable"] + ["recorded"] * 2 + ["ok"] * 3)
    assert found.summary == (
        "3 of 6 settings are not as asked, 1 not available here, 2 recorded only"
    )


def test_all_as_asked_is_said():
    """A clean host says how many settings it was asked for."""
    rows = [row for row in SETTINGS if row["state"] == "ok"]
    found = audit(run_with(host_state(rows)))
    assert found.summary == "3 of 3 settings as asked"
    assert found.notable == []


def test_not_audited_is_neither_clean_nor_silent():
    """Older records, tuning off, hosts that could not be asked: each says why it knows nothing."""
    old = Run.from_parts(manifest(), [])
    assert "did not audit hosts" in audit(old).summary
    assert "nvmelab_tuning was off" in audit(run_with(None, "off")).summary
    assert audit(run_with({"before": None, "after": None})).summary.startswith("not audited:")


def test_without_a_last_look_nothing_is_said_to_be_the_same():
    """A run that was cut off: what was in force at its end is not known, and not "changed"."""
    found = audit(run_with({"before": {"rows": SETTINGS}, "after": None}))
    assert found.missing == "after"
    assert {one.after for one in found.settings} == {"not audited"}
    assert not any(one.is_changed for one in found.settings)


def test_runs_are_compared_by_what_was_in_force():
    """Two runs that differ in a governor are not like with like; an unaudited one says nothing."""
    other = [{**row, "effective": "performance"} if row["knob"] == "governor" else row
             for row in SETTINGS]  # fmt: skip
    runs = [run_with(host_state()), run_with(host_state(other))]
    found = dict(conditions.differences(runs))
    assert found["cpupower.governor"] == ("powersave", "performance")
    assert "quiet_host.thp" not in found
    assert "cpupower.governor" not in dict(conditions.differences([runs[0], run_with(None)]))
    assert effective(run_with(None)) == {}


def test_what_moved_names_the_point_to_look_at():
    """Steal: median over the points, the greatest, and where that was; throttling likewise."""
    (host,) = summarise([audited(fake_run(Lab(repetitions=1)))])
    run = host.runs[0]
    found = {one.quantity.name: one for one in movement.moved(run.points)}
    assert (found["steal"].low, found["steal"].typical, found["steal"].high) == (0.1, 0.1, 4.2)
    assert found["steal"].worst.own[0].startswith("steal")
    assert found["throttling"].high == 2
    assert found["throttling"].worst.point_id == "0006"
    assert found["steal"].n == 17  # of 18: one failed
    lowest = min(p.rows[0].frequency_median_khz or 0 for p in run.points if p.rows)
    assert found["CPU frequency"].worst.rows[0].frequency_median_khz == lowest
    assert movement.not_measured(run.points) == ["temperature"]


def test_a_point_shows_a_range_only_where_there_is_one():
    """2.4 to 3.6 GHz is a range; a single value is not; nothing measured is a dash."""
    (host,) = summarise([audited(fake_run(Lab(repetitions=1)))])
    first = host.runs[0].points[0]
    texts = {quantity.name: movement.text(quantity, first) for quantity in movement.QUANTITIES}
    assert texts["CPU frequency"] == "2.40–3.60 GHz"  # noqa: RUF001
    assert texts["steal"] == "0.10 %"
    assert texts["temperature"] == "–"  # noqa: RUF001
    failed = host.runs[0].points[-1]
    assert {movement.text(quantity, failed) for quantity in movement.QUANTITIES} == {"–"}  # noqa: RUF001
