# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file by which a later session finds a guest or a storage target that runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Callable, Optional, Type, TypeVar

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.processes import Process
from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

Running = TypeVar("Running")


def keep(
    path: Path,
    *,
    process: Process,
    spec: Mapping[str, Any],
    backends: Mapping[str, Backend],
    more: Mapping[str, Any],
) -> None:
    """Write down what is common to both, and ``more``."""
    state = {
        "schema_version": 1,
        "process": process.to_dict(),
        "spec": spec,
        "backends": {name: asdict(backend) for name, backend in backends.items()},
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, state, durable=False)


def recall(
    path: Path,
    make: Callable[[Mapping[str, Any], Mapping[str, Any]], Running],
    *,
    failed: Type[NvmelabError],
    called: str,
) -> Optional[Running]:
    """Return what is remembered in ``path``; None when nothing is.

    Args:
        path: ``<run directory>/<folder>/<name>.json``.
        make: is given the state that was kept, and the keywords ``process``, ``directory``,
            ``spec`` and ``backends`` that are made of it.
        failed: raised when what was kept cannot be read.
        called: what is to be ended by hand then.
    """
    if not path.exists():
        return None
    directory = path.parent.parent
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        record = directory / "processes" / path.name
        common = {
            "process": Process.from_dict(state["process"], record=str(record)),
            "directory": directory,
            "spec": state["spec"],
            "backends": {key: Backend(**value) for key, value in state["backends"].items()},
        }
        return make(state, common)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise failed(
            f"{path}: cannot be read ({error!r}); end {called} by hand and remove that file"
        ) from error
