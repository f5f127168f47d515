# SPDX-License-Identifier: GPL-3.0-or-later
"""pydantic's complaints about an experiment, in the words of its user."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from nvmelab.experiment.located_yaml import Fault, Path
from nvmelab.experiment.rules import Faults
from nvmelab.experiment.suggest import not_allowed

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

_WANTED = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text (quote it)",
    "list_type": "a list",
    "dict_type": "KEY: VALUE lines",
    "model_type": "KEY: VALUE lines",
    "model_attributes_type": "KEY: VALUE lines",
}


def from_validation(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """A fault for every complaint of pydantic about data for ``model``, the same paths."""
    return [fault for details in error.errors() for fault in _faults(details, model)]


def _faults(details: Any, model: type[BaseModel]) -> Iterator[Fault]:
    path: Path = tuple(part for part in details["loc"] if part != "[key]")
    nested = details.get("ctx", {}).get("error")
    if isinstance(nested, Faults):
        for fault in nested.faults:
            yield Fault((*path, *fault.path), fault.message)
        return
    yield Fault(path, _message(details, path, model))


def _message(details: Any, path: Path, model: type[BaseModel]) -> str:
    kind, found, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key: {not_allowed(str(path[-1]), _keys_at(model, path[:-1]))}"
    if kind == "missing":
        return "this key is missing"
    if kind == "literal_error":
        allowed = [word.strip().strip("'") for word in _expected_words(context["expected"])]
        return not_allowed(found, allowed)
    if kind == "string_pattern_mismatch":
        return (
            f"found {found!r}; wanted lower-case letters, digits and dashes: {context['pattern']}"
        )
    if kind in {"too_short", "string_too_short"}:
        return "found nothing here: it would leave zero points" if kind == "too_short" else "empty"
    wanted = _WANTED.get(kind)
    return f"found {_short(found)}; wanted {wanted}" if wanted else _general(details)


def _general(details: Any) -> str:
    text = str(details["msg"])
    return f"found {_short(details['input'])}; {text[0].lower()}{text[1:]}"


def _expected_words(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004 (fits a line)


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the part of ``model`` at ``path`` may have; empty where any may stand."""
    part: Any = model
    for step in path:
        part = _below(part, step)
        if part is None:
            return []
    return _keys(part) if isinstance(part, type) and issubclass(part, BaseModel) else []


def _keys(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _below(part: Any, step: str | int) -> Any:
    """The model under one key or item of ``part``, or None."""
    if isinstance(part, type) and issubclass(part, BaseModel):
        fields = {info.alias or name: info for name, info in part.model_fields.items()}
        return _model_in(fields[str(step)].annotation) if step in fields else None
    return _model_in(typing.get_args(part)[-1])


def _model_in(annotation: Any) -> Any:
    """The container or model in an annotation, ``X | None`` and Annotated taken off."""
    origin = typing.get_origin(annotation)
    if origin in {types.UnionType, typing.Union}:
        return _model_in(next(a for a in typing.get_args(annotation) if a is not type(None)))
    return annotation
