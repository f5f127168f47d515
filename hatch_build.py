"""Place the collection where Ansible looks: copied into a wheel, linked for an editable install."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = (
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "experiments",
    "galaxy.yml",
    "meta",
    "playbooks",
    "plugins",
    "roles",
)
PLACE = "ansible_collections/nvmelab/bench"


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Adds the collection to the wheel, or links the checkout for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Force-include the parts, or make the link; a static include would copy into editables."""
        if version != "editable":
            build_data["force_include"].update({part: f"{PLACE}/{part}" for part in PARTS})
            return
        link = Path(self.root, ".collections", PLACE)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to("../../..", target_is_directory=True)
