# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The knobs of the group cpupower, in writing order, and what cannot go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import (
    cpu_frequency,
    cpu_idle,
)

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
        Knob,
        Reading,
    )

FREQUENCY_MIN = cpu_frequency.FrequencyLimit("frequency_min_khz", "scaling_min_freq")
FREQUENCY_MAX = cpu_frequency.FrequencyLimit("frequency_max_khz", "scaling_max_freq")
CPUPOWER_KNOBS: tuple[Knob, ...] = (
    cpu_frequency.CpufreqDriver(),
    cpu_idle.Smt(),
    cpu_frequency.Boost(),
    cpu_frequency.Governor(),
    cpu_frequency.EnergyPerformancePreference(),
    cpu_frequency.EnergyPerfBias(),
    FREQUENCY_MIN,
    FREQUENCY_MAX,
    cpu_idle.IdleLatency(),
    cpu_idle.DmaLatency(),
)
# Their governor "performance" holds the energy hints at performance; the kernel refuses others.
_OWN_GOVERNORS = ("intel_pstate", "amd-pstate-epp")

Values = Mapping[str, Mapping[str, str]]


def refuse_together(wished: Values, found: Mapping[str, Reading]) -> None:
    """Return when these values can be in force at once.

    Args:
        wished: the value of each place, by knob, of what is asked for.
        found: what every knob is now; it stays where nothing is asked.

    Raises:
        BadInputError: a minimum above its maximum, or an energy hint that the governor holds.
    """
    _refuse_crossed(_after("frequency_min_khz", wished, found), wished, found)
    _refuse_held_hint(wished, found)


def _after(name: str, wished: Values, found: Mapping[str, Reading]) -> dict[str, str]:
    """Return the values of a knob by policy, once the wishes are in force."""
    values = {**(found[name].values if name in found else {}), **wished.get(name, {})}
    return {cpu_frequency.folder_of(place): value for place, value in values.items()}


def _refuse_crossed(least: Mapping[str, str], wished: Values, found: Mapping[str, Reading]) -> None:
    if not {"frequency_min_khz", "frequency_max_khz"} & set(wished):
        return
    most = _after("frequency_max_khz", wished, found)
    for policy in least:
        if int(least[policy]) > int(most.get(policy, least[policy])):
            raise BadInputError(
                f"cpupower: /{policy} would have frequency_min_khz {least[policy]} above "
                f"frequency_max_khz {most[policy]}; next: ask for both, and the minimum not above"
            )


def _refuse_held_hint(wished: Values, found: Mapping[str, Reading]) -> None:
    governors = _after("governor", wished, found)
    drivers = _after("cpufreq_driver", {}, found)
    for place, value in wished.get("energy_performance_preference", {}).items():
        policy = cpu_frequency.folder_of(place)
        driver = drivers.get(policy, "").partition(",")[0]
        if (
            value != "performance"
            and governors.get(policy) == "performance"
            and driver in _OWN_GOVERNORS
        ):
            raise BadInputError(
                f"cpupower: energy_performance_preference {value!r} with governor performance: "
                f"{driver} holds the preference at performance then (EBUSY); next: ask for "
                "governor powersave, or for preference performance"
            )
