# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of an experiment that YAML does not give as fio and QEMU want them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from nvmelab.errors import BadInputError
from nvmelab.experiment import fio_options
from nvmelab.experiment.located_yaml import Fault
from nvmelab.experiment.rules import Faults

_CPU_LIST_PATTERN = "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"


def _cpu_list(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str):
        with contextlib.suppress(BadInputError):
            parse_cpu_list(text)
            return text
    raise Faults([Fault((), f'found {value!r}; wanted a list of CPUs such as "2-5,8"')])


def _fio_value(value: Any) -> fio_options.Value:
    """One word of fio's; YAML's true and false become fio's 1 and 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | str) and value != "":
        return value
    hint = ' (write "null" in quotes for fio\'s null engine)' if value is None else ""
    raise Faults([Fault((), f"found {value!r}; wanted a number or a word{hint}")])


def checked_options(options: Any) -> dict[str, fio_options.Sweep]:
    """Job options with every name and value checked, all faults together."""
    if not isinstance(options, Mapping):
        raise Faults([Fault((), f"found {options!r}; wanted fio options as KEY: VALUE")])
    faults: list[Fault] = []
    checked: dict[str, fio_options.Sweep] = {}
    for name, value in options.items():
        complaint = fio_options.option_fault(name)
        if complaint:
            faults.append(Fault((name,), complaint))
            continue
        try:
            checked[name] = _sweep(name, value)
        except Faults as error:
            faults += [Fault((name, *fault.path), fault.message) for fault in error.faults]
    if faults:
        raise Faults(faults)
    return checked


def _sweep(name: str, value: Any) -> fio_options.Sweep:
    """One value, or the list of values to sweep."""
    if not isinstance(value, list):
        return _checked(name, value, ())
    if not value:
        raise Faults([Fault((), "found an empty list: it would leave zero points")])
    values = [_checked(name, item, (index,)) for index, item in enumerate(value)]
    texts = [str(item) for item in values]
    twice = [index for index, text in enumerate(texts) if text in texts[:index]]
    if twice:
        raise Faults([Fault((twice[0],), f"found {texts[twice[0]]!r} a second time in the list")])
    return values


def _checked(name: str, value: Any, path: tuple[int, ...]) -> fio_options.Value:
    try:
        word = _fio_value(value)
    except Faults as error:
        raise Faults([Fault(path, fault.message) for fault in error.faults]) from None
    complaint = fio_options.value_fault(name, word)
    if complaint:
        raise Faults([Fault(path, complaint)])
    return word


def _property_value(value: Any) -> int | float | str:
    """A value of a QEMU property; YAML reads on, yes and true alike as True."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float | str):
        return value
    raise Faults([Fault((), f"found {value!r}; wanted on, off, a number or a word")])


WORD_SCHEMA = {"type": ["integer", "number", "string", "boolean"]}
CpuList = Annotated[
    str,
    BeforeValidator(_cpu_list),
    WithJsonSchema({"type": ["string", "integer"], "pattern": _CPU_LIST_PATTERN}),
]
FioOptions = Annotated[
    dict[str, fio_options.Sweep],
    BeforeValidator(checked_options),
    WithJsonSchema({"type": "object"}),  # the names are filled in by experiment_schema
]
# A list of them has become several stacks before the model sees it (stack_sweep).
_WHOLE = {"type": "integer", "minimum": 1}
Size = Annotated[
    int,
    WithJsonSchema({"anyOf": [_WHOLE, {"type": "array", "items": _WHOLE, "minItems": 1}]}),
]
PropertyValue = Annotated[
    int | float | str, BeforeValidator(_property_value), WithJsonSchema(WORD_SCHEMA)
]
Properties = dict[str, PropertyValue]
