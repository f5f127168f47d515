#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack the ended runs of a lab host for collection."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_archive
short_description: Pack the ended runs of a lab host for collection
version_added: 0.1.0
description:
  - Packs each run that has ended and that the control node does not have yet into one archive,
    to be fetched. A run that is still being executed is named and left alone.
  - A run whose executor was killed gets its end written first, and what it left running is stopped,
    so that what was measured can be collected.
options:
  state:
    description: V(present) packs, V(absent) removes the archives again. Runs are never removed.
    type: str
    choices: [present, absent]
    default: present
  known:
    description:
      - The runs that the control node has of this host, O(known) being a dictionary of run_id to
        finished_at. A run that was continued since has another finished_at and is packed again.
    type: dict
    default: {}
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    description: Says which runs would be packed, without packing any.
    support: full
author: The nvmelab authors
"""

EXAMPLES = r"""
- name: Pack what is new
  nvmelab.bench.run_archive:
    known:
      20260101T120000Z-quick-1a2b: "2026-01-01T12:03:04Z"
  register: offered

- name: Fetch it
  ansible.builtin.fetch:
    src: "{{ item.path }}"
    dest: incoming/
  loop: "{{ offered.archives }}"
  loop_control:
    label: "{{ item.run_id }}"

- name: Remove the archives
  nvmelab.bench.run_archive:
    state: absent
"""

RETURN = r"""
archives:
  description: One entry an archive.
  returned: for O(state=present)
  type: list
  elements: dict
  contains:
    run_id:
      description: The run.
      type: str
    state:
      description: complete, partial, failed or interrupted.
      type: str
    finished_at:
      description: When it ended, in UTC.
      type: str
    path:
      description: The archive on the lab host; absent in check mode.
      type: str
    sha256:
      description: Its digest; absent in check mode.
      type: str
    size_bytes:
      description: Its size; absent in check mode.
      type: int
running:
  description: The runs that are being executed now.
  returned: for O(state=present)
  type: list
  elements: str
skipped:
  description: The runs that cannot be packed, each with run_id and reason.
  returned: for O(state=present)
  type: list
  elements: dict
interrupted:
  description: The runs whose executor was found dead, and which got their end written now.
  returned: for O(state=present)
  type: list
  elements: str
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT
from ansible_collections.nvmelab.bench.plugins.module_utils.run import archives as run_archives

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **LAB_ROOT,
    "known": {"type": "dict", "default": {}},
}


def answer(params: dict[str, Any], *, is_dry: bool) -> dict[str, Any]:
    """Return the module's result."""
    root = Path(params["root"])
    if params["state"] == "absent":
        return {"changed": run_archives.remove(root, is_dry=is_dry)}
    found = run_archives.offer(root, params["known"], is_dry=is_dry)
    return {"changed": bool(found.archives or found.interrupted), **asdict(found)}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = answer(module.params, is_dry=module.check_mode)
    except NvmelabError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
