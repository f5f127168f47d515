# SPDX-License-Identifier: GPL-3.0-or-later
"""Experiment files: found by name, read, checked as a whole, every fault with its line."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nvmelab.errors import BadInputError
from nvmelab.experiment import faults as experiment_faults
from nvmelab.experiment import located_yaml, stack_sweep
from nvmelab.experiment.located_yaml import Fault, LocatedDocument
from nvmelab.experiment.model import SCHEMA_VERSION, Experiment
from nvmelab.experiment.schema import json_schema
from nvmelab.experiment.suggest import did_you_mean, not_allowed

__all__ = [
    "Experiment",
    "ExperimentError",
    "digest",
    "find_experiment",
    "json_schema",
    "load_experiment",
    "select_stacks",
]


class ExperimentError(BadInputError):
    """An experiment file that cannot be used, with everything that is wrong in it."""


def find_experiment(name_or_path: str) -> Path:
    """The experiment file that is meant.

    A bare name such as ``quick`` is looked for in ``./experiments``, then among the experiments
    of the installed collection; anything with a slash or a suffix is a path.

    Raises:
        ExperimentError: no such file; names those that there are.
    """
    path = Path(name_or_path)
    if path.suffix or len(path.parts) > 1:
        if path.is_file():
            return path
        found = "is a folder, wanted an experiment file" if path.is_dir() else "no such file"
        raise ExperimentError(f"experiment {name_or_path}: {found}")
    folders = _folders()
    for folder in folders:
        if (candidate := folder / f"{name_or_path}.yml").is_file():
            return candidate
    names = sorted({file.stem for folder in folders for file in folder.glob("*.yml")})
    looked = ", ".join(str(folder) for folder in folders)
    raise ExperimentError(
        f"experiment {name_or_path!r}: no {name_or_path}.yml in {looked}; "
        f"there are: {', '.join(names) or 'none'}{did_you_mean(name_or_path, names)}"
    )


def _folders() -> list[Path]:
    """Where experiments are looked for, in this order."""
    folders = [Path("experiments")]
    try:
        collection = importlib.import_module("ansible_collections.nvmelab.bench")
    except ImportError:
        return folders
    return folders + [Path(place, "experiments") for place in collection.__path__]


def load_experiment(path: Path | str, *, stacks: Sequence[str] | None = None) -> Experiment:
    """The experiment in the file ``path``, with only the stacks named, if any are named.

    Raises:
        ExperimentError: the file is unreadable or wrong; lists every fault with its line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: cannot read the experiment: {error}") from error
    experiment = parse_experiment(text, source=str(path))
    return select_stacks(experiment, stacks) if stacks else experiment


def parse_experiment(text: str, *, source: str) -> Experiment:
    """The experiment written in ``text``; ``source`` names it in errors."""
    document = located_yaml.load(text)
    faults = list(document.faults)
    if not faults or document.data is not None:
        newer = _newer_schema(document.data)
        sized = stack_sweep.expand(document.data)
        faults = [newer] if newer else [*faults, *sized.faults]
        try:
            experiment = Experiment.model_validate(sized.data)
        except ValidationError as error:
            found = [] if newer else experiment_faults.from_validation(error, Experiment)
            faults += [replace(one, path=sized.path_in_file(one.path)) for one in found]
        else:
            if not faults:
                return experiment
    raise ExperimentError(_message(source, document, faults))


def _newer_schema(data: Any) -> Fault | None:
    """A fault when the file is of a later format, in which nothing else can be judged."""
    version = data.get("schema") if isinstance(data, Mapping) else None
    if not isinstance(version, int) or version <= SCHEMA_VERSION:
        return None
    message = f"found {version}, newer than this nvmelab reads ({SCHEMA_VERSION}); update nvmelab"
    return Fault(("schema",), message)


def _message(source: str, document: LocatedDocument, faults: Iterable[Fault]) -> str:
    """One line a fault, ``FILE:LINE: KEY: what``, in the order of the file."""
    located = sorted(
        {(fault.line or document.line(fault.path), key_path(fault.path), fault.message)
         for fault in faults}
    )  # fmt: skip
    lines = [
        f"{source}:{line}: {f'{key}: ' if key else ''}{message}" for line, key, message in located
    ]
    return "\n".join(lines)


def key_path(path: located_yaml.Path) -> str:
    """``workloads[0].iodepth`` for ``("workloads", 0, "iodepth")``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def select_stacks(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """``experiment`` with only the stacks ``names``, in the file's order.

    The name of a stack whose size is swept means all its sizes.

    Raises:
        ExperimentError: a name that the experiment does not have.
    """
    meant = {name: stack_sweep.meant_by(name, experiment.stacks) for name in names}
    unknown = [name for name, found in meant.items() if not found]
    if unknown:
        raise ExperimentError(
            "\n".join(
                f"experiment {experiment.name}: no stack of that name: "
                f"{not_allowed(name, experiment.stacks)}"
                for name in unknown
            )
        )
    named = {name for found in meant.values() for name in found}
    kept = {name: stack for name, stack in experiment.stacks.items() if name in named}
    compare = (
        experiment.compare if experiment.compare and experiment.compare.baseline in kept else None
    )
    return experiment.model_copy(update={"stacks": kept, "compare": compare})


def digest(experiment: Experiment) -> str:
    """sha256 of the resolved experiment: equal when nothing differs that was asked for."""
    text = json.dumps(experiment.document(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
