# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a QEMU or qemu-storage-daemon binary can do, by asking it.

A machine-less QEMU answers over QMP in 50 ms what it has; texts in the binary and version numbers
prove nothing (a device may be compiled out, or live in a module that is not installed).
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEADLINE_S = 20
# The devices that stacks are made of, and what a guest has beside them.
MODELS = (
    "nvme",
    "nvme-ns",
    "nvme-subsys",
    "virtio-blk-pci",
    "virtio-scsi-pci",
    "scsi-hd",
    "vhost-user-blk-pci",
    "vfio-user-pci",
    "pvpanic-pci",
)


class ProbeError(NvmelabError):
    """A binary that is there does not answer as it should."""


def run(argv: Sequence[str], *, text: str = "") -> str:
    """Return what a short command printed, stderr included.

    Raises:
        ProbeError: it cannot be run or does not end in time.
    """
    try:
        done = subprocess.run(
            argv,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProbeError(f"{argv[0]}: cannot be asked what it can do: {error}") from error
    return done.stdout


def probe_qemu(path: str) -> dict[str, Any]:
    """Return what a QEMU has: the keys of capabilities' ``qemu``.

    ``path, version, devices, objects, block_drivers, accelerators, panic_actions, qboot``:
    ``devices`` maps each of MODELS that exists to its property names; ``qboot`` is a firmware file
    or None.

    Raises:
        ProbeError: the binary does not speak QMP.
    """
    commands: list[dict[str, Any]] = [
        {"execute": "query-version", "id": "version"},
        {"execute": "query-qmp-schema", "id": "schema"},
        _types("user-creatable", "objects"),
        _types("accel", "accelerators"),
        *(_properties(model) for model in MODELS),
    ]
    monitor = ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    answers = _ask([path, *monitor], commands, "quit")
    return {
        "path": path,
        "version": _version(answers["version"]),
        "devices": {
            model: sorted(item["name"] for item in answers[model])
            for model in MODELS
            if isinstance(answers.get(model), list)
        },
        "objects": sorted(item["name"] for item in answers["objects"]),
        "block_drivers": _block_drivers(path),
        "accelerators": sorted(
            item["name"][: -len("-accel")]
            for item in answers["accelerators"]
            if item["name"].endswith("-accel")
        ),
        "panic_actions": _enum_with(answers["schema"], "exit-failure", "pause"),
        "qboot": _qboot(path),
    }


def probe_storage_daemon(path: str) -> dict[str, Any]:
    """Return ``path, version, exports``; vhost-user-blk counts only when an export was made.

    Raises:
        ProbeError: the binary does not speak QMP.
    """
    with tempfile.TemporaryDirectory(prefix="nvmelab-") as folder:
        address = {"type": "unix", "path": str(Path(folder, "probe.sock"))}
        export = {"type": "vhost-user-blk", "id": "e0", "node-name": "n0", "addr": address}
        node = {"driver": "null-co", "node-name": "n0", "size": 1 << 20, "read-zeroes": True}
        commands: list[dict[str, Any]] = [
            {"execute": "query-version", "id": "version"},
            {"execute": "query-qmp-schema", "id": "schema"},
            {"execute": "blockdev-add", "arguments": node, "id": "node"},
            {"execute": "block-export-add", "arguments": export, "id": "vhost-user-blk"},
            {"execute": "block-export-del", "arguments": {"id": "e0"}, "id": "removed"},
        ]
        monitor = ["--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor"]
        answers = _ask([path, *monitor], commands, "quit")
    exports = set(_enum_with(answers["schema"], "nbd", "vhost-user-blk")) - {"vhost-user-blk"}
    if answers.get("vhost-user-blk") == {}:
        exports.add("vhost-user-blk")
    return {"path": path, "version": _version(answers["version"]), "exports": sorted(exports)}


def _types(implements: str, identity: str) -> dict[str, Any]:
    return {
        "execute": "qom-list-types",
        "arguments": {"implements": implements, "abstract": False},
        "id": identity,
    }


def _properties(model: str) -> dict[str, Any]:
    return {"execute": "device-list-properties", "arguments": {"typename": model}, "id": model}


def _ask(argv: Sequence[str], commands: Sequence[dict[str, Any]], last: str) -> dict[str, Any]:
    """Return the answers by id; a refused command has none."""
    session = [{"execute": "qmp_capabilities"}, *commands, {"execute": last}]
    output = run(argv, text="".join(json.dumps(command) + "\n" for command in session))
    answers = {}
    for line in output.splitlines():
        message = _message(line)
        if message and "return" in message and "id" in message:
            answers[message["id"]] = message["return"]
    missing = {"version", "schema"} - set(answers)
    if missing:
        raise ProbeError(f"{argv[0]}: no QMP answer to {sorted(missing)}: {output[:300].strip()}")
    return answers


def _message(line: str) -> Optional[dict[str, Any]]:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _version(answer: dict[str, Any]) -> str:
    number = answer["qemu"]
    return f"{number['major']}.{number['minor']}.{number['micro']}"


def _enum_with(schema: Sequence[dict[str, Any]], *values: str) -> list[str]:
    """Return the values of the schema's enum that has all of ``values``; names there are masked."""
    for entry in schema:
        if entry.get("meta-type") == "enum" and set(values) <= set(entry["values"]):
            return sorted(entry["values"])
    return []


def _block_drivers(path: str) -> list[str]:
    """Return the drivers that can be opened: compiled in, allowed, their module installed."""
    match = re.search(
        r"^Supported formats: (.*)$",
        run([path, "-machine", "none", "-display", "none", "-drive", "format=help"]),
        re.MULTILINE,
    )
    return sorted(match[1].split()) if match else []


def _qboot(path: str) -> Optional[str]:
    """Return the firmware that only loads a kernel, from QEMU's own data folders."""
    for folder in run([path, "-L", "help"]).splitlines():
        candidate = Path(folder.strip(), "qboot.rom")
        if candidate.is_file():
            return str(candidate)
    return None
