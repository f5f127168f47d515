# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a host's state: the profile with a user's changes; pure.

The profile names every setting that can be asked for, so it is also what names are checked
against, on the control node, before a host is touched.
"""

from __future__ import annotations

import difflib
from typing import Any, Iterable, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import page_wishes

TUNING_MODES = ("off", "audit", "enforce")
VARIABLE = "nvmelab_host_state"
# Settings that are the housekeeping CPUs of a layout, unless something else is asked.
HOUSEKEEPING_SETTINGS = ("irq_cpus", "workqueue_cpus")


def tuning_mode(found: object) -> str:
    """Return ``off``, ``audit`` or ``enforce``; YAML's ``off``, which is a boolean, is ``off``.

    Raises:
        BadInputError: it is anything else.
    """
    if found is False:
        return "off"
    if found not in TUNING_MODES:
        raise BadInputError(f"nvmelab_tuning: {_not_a_mode(found)}")
    return str(found)


def asked(
    default: Mapping[str, Any], changes: object, cpus: Optional[Mapping[str, Any]] = None
) -> dict[str, Any]:
    """Return the profile with these changes; a change to None takes a wish away.

    Args:
        default: the shipped profile, every group and every setting in it.
        changes: in the same shape, with only what differs.
        cpus: ``layout`` and ``kernel_args`` of module cpu_layout_info, when CPUs are laid out.

    Raises:
        BadInputError: a group or setting does not exist, or has the wrong shape; names them all.
    """
    faults: list[str] = []
    result = {group: _copy(value) for group, value in default.items()}
    if cpus:
        _take_layout(result, cpus)
    for group, change in _pairs({} if changes is None else changes, VARIABLE, faults):
        if group not in default:
            faults.append(f"{VARIABLE}: no group {_unknown(group, default)}")
        elif isinstance(default[group], Mapping):
            key = f"{VARIABLE}.{group}"
            for name, value in _pairs(change, key, faults):
                if name in default[group]:
                    faults += _bad_value(f"{key}.{name}", value)
                    result[group][name] = value
                else:
                    faults.append(f"{key}: no setting {_unknown(name, default[group])}")
        else:
            faults += _bad_list(f"{VARIABLE}.{group}", group, [] if change is None else change)
            result[group] = change or []
    if faults:
        raise BadInputError("\n".join(faults))
    if cpus and not _is_nothing(changes, "kernel_cmdline"):
        own = result["kernel_cmdline"]
        result["kernel_cmdline"] = [*own, *(a for a in cpus["kernel_args"] if a not in own)]
    return result


def _is_nothing(changes: object, group: str) -> bool:
    """Whether nothing of a group is asked, which keeps out a layout's wishes, too."""
    return isinstance(changes, Mapping) and group in changes and changes[group] is None


def _take_layout(result: dict[str, Any], cpus: Mapping[str, Any]) -> None:
    for name in HOUSEKEEPING_SETTINGS:
        if result["quiet_host"][name] is None:
            result["quiet_host"][name] = cpus["layout"]["housekeeping"]


def _copy(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)


def _pairs(found: object, key: str, faults: list[str]) -> list[tuple[Any, Any]]:
    if isinstance(found, Mapping):
        return list(found.items())
    # Also null: it could mean "change nothing" and "ask for nothing".
    faults.append(f"{key}: found {found!r}, wanted settings by name, or leave it out")
    return []


def _bad_value(key: str, value: object) -> list[str]:
    if value is None or isinstance(value, (str, int)):
        return []
    return [f"{key}: found {value!r}, wanted one value, or null to ask for nothing"]


def _bad_list(key: str, group: str, value: object) -> list[str]:
    if group == "hugepages":
        return page_wishes.faults(key, value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return []
    return [f"{key}: found {value!r}, wanted a list of arguments"]


def _unknown(found: object, allowed: Iterable[str]) -> str:
    names = list(allowed)
    near = difflib.get_close_matches(str(found), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{found!r}, wanted one of {', '.join(names)}{hint}"


def _not_a_mode(found: object) -> str:
    near = difflib.get_close_matches(str(found), TUNING_MODES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"found {found!r}, wanted off, audit or enforce{hint}"
