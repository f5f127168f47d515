# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules say of themselves is what they do."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule

PLUGINS = "ansible_collections.nvmelab.bench.plugins"
NAMES = sorted(path.stem for path in Path(__file__).parents[4].glob("plugins/modules/*.py"))
FACETS = ("type", "elements", "choices", "default")


class CalledError(Exception):
    """What a module asks Ansible for; nothing of it is run."""


def documented(name: str) -> dict[str, Any]:
    """Options as ansible-doc shows them: the module's own before those of its fragments."""
    own = yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{name}").DOCUMENTATION)
    said = own.get("extends_documentation_fragment", [])
    options: dict[str, Any] = {}
    for fragment in [said] if isinstance(said, str) else said:
        place = importlib.import_module(f"{PLUGINS}.doc_fragments.{fragment.rsplit('.', 1)[1]}")
        options.update(yaml.safe_load(place.ModuleDocFragment.DOCUMENTATION)["options"])
    return {**options, **own.get("options", {})}


def accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The argument spec: a module's own, or that of the action which does its work."""
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    if not hasattr(module, "main"):
        spec: dict[str, Any] = importlib.import_module(f"{PLUGINS}.action.{name}").ARGUMENTS
        return spec

    def say(_: AnsibleModule, argument_spec: dict[str, Any], **__: object) -> None:
        raise CalledError(argument_spec)

    monkeypatch.setattr(AnsibleModule, "__init__", say)
    with pytest.raises(CalledError) as called:
        module.main()
    return dict(called.value.args[0])


def facts(options: dict[str, Any], inner: str) -> dict[str, Any]:
    """What both sides tell of an option, with those inside of it."""
    return {
        name: {
            **{facet: option.get(facet) for facet in FACETS},
            "required": option.get("required", False),
            "inner": facts(option.get(inner) or {}, inner),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_options_documented_are_those_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option with its type, choices, default and need; no other; so for options inside."""
    assert facts(documented(name), "suboptions") == facts(accepted(name, monkeypatch), "options")
