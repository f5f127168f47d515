# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON Schema of an experiment file, for editors."""

from __future__ import annotations

from typing import Any

from nvmelab.experiment import fio_options
from nvmelab.experiment.model import Experiment
from nvmelab.experiment.values import WORD_SCHEMA

_VALUE = {"$ref": "#/$defs/FioValue"}


def json_schema() -> dict[str, Any]:
    """The schema, made from the model that the files are checked with.

    It knows shapes and names; what must go together across a file only the check itself knows.
    """
    schema = Experiment.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    definitions["FioValue"] = {
        "anyOf": [WORD_SCHEMA, {"type": "array", "items": WORD_SCHEMA, "minItems": 1}]
    }
    definitions["FioOptions"] = {"type": "object", **_names()}
    for part, key in ((schema, "fio"), (definitions["Stack"], "engine")):
        part["properties"][key]["$ref"] = "#/$defs/FioOptions"
    schema["properties"]["stacks"]["additionalProperties"] = False
    workload, options = definitions["Workload"], _names()
    options["properties"].update(workload["properties"])
    workload.update(options)
    return {
        **schema,
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Experiment of nvmelab.bench",
    }


def _names() -> dict[str, Any]:
    """The part of a schema that allows fio's job options and nothing else."""
    return {
        "properties": dict.fromkeys(fio_options.option_names(), _VALUE),
        "patternProperties": {f"^{prefix}": _VALUE for prefix in fio_options.option_prefixes()},
        "additionalProperties": False,
    }
