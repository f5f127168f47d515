# SPDX-License-Identifier: GPL-3.0-or-later
"""What ran where and under which conditions, as words and lines for a page. Pure.

Conditions and capabilities are open: a lab host records what it knows, so they are shown as they
are, by dotted key. What a reader asks first has a name here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nvmelab import units
from nvmelab.show import host_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nvmelab.store.records import Run

NOT_RECORDED = "not recorded"
# Load and free memory differ between any two moments.
_RESTLESS = ("load_1_min", "memory_available_mib")


class Condition(NamedTuple):
    """One recorded condition before and after the run."""

    key: str
    before: str
    after: str
    is_changed: bool


class StackPath(NamedTuple):
    """One stack as the experiment describes it, part by part along its path."""

    name: str
    description: str
    parts: tuple[str, ...]
    is_ceiling: bool


# What a stack is made of, from the disk to the application.
PATH_PARTS = ("backend", "server", "transport", "device model", "guest driver", "I/O engine", "on")


def essentials(run: Run) -> list[tuple[str, str]]:
    """Return what a reader asks first of a run, as (name, text)."""
    known = run.manifest.get("capabilities") or {}
    before = (run.manifest.get("conditions") or {}).get("before") or {}
    image = known.get("guest_image") or {}
    accelerator = known.get("accelerator") or {}
    lines = {
        "Host": run.manifest.get("hostname"),
        "CPU": _joined(before.get("cpu_model"), f"{known.get('cpu_count', '?')} CPUs"),
        "Memory": units.bytes_(_mib(known.get("memory_mib"))),
        "Kernel": before.get("kernel") or known.get("kernel"),
        "Kernel arguments": before.get("cmdline"),
        "Accelerator": _joined(str(accelerator.get("name", "")).upper(), accelerator.get("reason")),
        "Governor": before.get("governors"),
        "SMT, boost": _joined(
            f"SMT {_text(before.get('smt'))}", f"boost {_text(before.get('boost'))}"
        ),
        "QEMU": _tool(known.get("qemu")),
        "qemu-storage-daemon": _tool(known.get("qemu_storage_daemon")),
        "SPDK": _tool(known.get("spdk")),
        "fio": _joined(*(f"{place} {name}" for place, name in _fio_versions(run))),
        "Guest": _joined(
            image.get("name"), image.get("kernel_release"), str(image.get("digest") or "")[:12]
        ),
        "Experiment": _experiment(run),
        "Time": _time(run),
    }
    return [(name, _text(value)) for name, value in lines.items()]


def recorded(run: Run) -> list[Condition]:
    """Return every condition by its dotted key, with what it was before and after the run."""
    both = run.manifest.get("conditions") or {}
    before, after = (dict(_flat(both.get(when) or {})) for when in ("before", "after"))
    return [
        Condition(
            key,
            _text(before.get(key)),
            _text(after.get(key)),
            key not in _RESTLESS and key in after and before.get(key) != after[key],
        )
        for key in dict.fromkeys([*before, *after])
    ]


def stack_paths(runs: Iterable[Run]) -> list[StackPath]:
    """Return the stacks of the experiments, each once, ceilings last."""
    stacks: dict[str, StackPath] = {}
    for run in runs:
        for name, stack in (run.experiment.get("stacks") or {}).items():
            stacks.setdefault(name, _stack_path(name, stack or {}))
    return sorted(stacks.values(), key=lambda stack: stack.is_ceiling)


def differences(runs: Sequence[Run]) -> list[tuple[str, tuple[str, ...]]]:
    """Return in what the runs are not equal: essentials, then settings of the audited hosts.

    As (name, the value of each run). A setting is compared where every run's host was audited.
    """
    columns = [{**dict(essentials(run)), **host_state.effective(run)} for run in runs]
    return [
        (name, values)
        for name in columns[0]
        if name != "Time"
        and all(name in column for column in columns)
        and len(set(values := tuple(column[name] for column in columns))) > 1
    ]


def commands(run: Run) -> list[tuple[str, list[str]]]:
    """Return every started process as (name, argument list)."""
    return list(_argvs(run.manifest.get("commands") or {}, ()))


def fio_commands(run: Run) -> list[tuple[str, list[str]]]:
    """Return the clients' argument lists as (points, argument list), each different one once."""
    found: dict[tuple[str, ...], list[str]] = {}
    for point_id, argv in ((run.manifest.get("record") or {}).get("fio_commands") or {}).items():
        found.setdefault(tuple(map(str, argv)), []).append(point_id)
    return [(", ".join(sorted(ids)), list(argv)) for argv, ids in sorted(found.items())]


def failed_points(run: Run) -> list[tuple[str, str]]:
    """Return (point, reason) of what gave no result, at the lab host or when it was read."""
    dropped = (run.manifest.get("record") or {}).get("dropped") or ()
    every = [*(run.manifest.get("points_failed") or ()), *dropped]
    return [(str(point.get("id")), str(point.get("reason"))) for point in every]


def _stack_path(name: str, stack: Mapping[str, Any]) -> StackPath:
    device = stack.get("device") or {}
    backend = stack.get("backend") or {}
    properties = [f"{key}={value}" for key, value in (device.get("properties") or {}).items()]
    iothreads = [f"{device['iothreads']} IOThread"] if device.get("iothreads") else []
    size = [units.bytes_(_mib(backend.get("size_mib")))] if backend.get("size_mib") else []
    parts = (
        " ".join([str(backend.get("kind")), *size]),
        stack.get("server"),
        stack.get("transport"),
        ", ".join([str(device.get("model")), *properties, *iothreads]),
        stack.get("driver"),
        _driven_by(stack),
        stack.get("runs_on"),
    )
    shown = tuple(units.NOT_MEASURED if part in {None, "", "none"} else str(part) for part in parts)
    return StackPath(name, stack.get("description") or "", shown, bool(stack.get("ceiling")))


def _driven_by(stack: Mapping[str, Any]) -> str:
    """Return fio's options of the stack, or the client that is no fio."""
    client = str(stack.get("client", "fio"))
    options = (stack.get("engine") or {}).items()
    return client if client != "fio" else ", ".join(f"{key}={value}" for key, value in options)


def _flat(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _argvs(value: object, name: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _argvs(inner, (*name, str(key)))
    elif isinstance(value, list):
        yield " · ".join(name), [str(word) for word in value]


def _text(value: object) -> str:
    if value in (None, "", {}, []):
        return NOT_RECORDED
    if isinstance(value, dict):
        return ", ".join(f"{key}: {inner}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


def _joined(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _mib(value: object) -> float | None:
    return value * 2**20 if isinstance(value, int | float) else None


def _tool(tool: Mapping[str, Any] | None) -> str:
    if not tool or not tool.get("version"):
        return "not found"
    return f"{tool['version']} ({tool['path']})" if tool.get("path") else str(tool["version"])


def _fio_versions(run: Run) -> list[tuple[str, str]]:
    """Return what fio itself printed, by where it ran; the host's when there are no results."""
    seen = {(row.runs_on, row.fio_version) for row in run.rows if row.fio_version}
    return sorted((f"{place}:", version) for place, version in seen if version)


def _experiment(run: Run) -> str:
    said = run.manifest.get("experiment") or {}
    digest = str(said.get("digest") or "")[:12]
    repetitions, seed = run.manifest.get("repetitions"), run.manifest.get("seed")
    return _joined(
        said.get("name"), f"digest {digest}", f"{repetitions} repetitions", f"seed {seed}",
        run.manifest.get("layout"),
    )  # fmt: skip


def _time(run: Run) -> str:
    took = run.manifest.get("durations_s") or {}
    parts = [f"{run.manifest.get('started_at')} to {run.manifest.get('finished_at') or 'unknown'}"]
    parts += [f"{key.replace('_', ' ')} {units.seconds(value)}" for key, value in took.items()
              if key in {"guest_boot", "sweep", "fio", "total"}]  # fmt: skip
    return _joined(*parts)
