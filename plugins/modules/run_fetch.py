#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring finished runs from a lab host to the control node: the lab host's side."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_fetch
short_description: Bring finished runs from a lab host to the control node
version_added: 0.1.0
description:
  - Packs every finished run that is not known yet, as M(nvmelab.bench.run_archive) does, copies the
    archives to the control node, checks them, and removes them from the host. The runs stay.
  - Takes one task where packing, fetching and removing would take three. A small archive comes
    with the module's answer, a large one by file transfer.
options:
  known:
    description: What the control node has of this host, O(known) maps a run to when it ended.
    type: dict
    default: {}
  dest:
    description:
      - Folder on the control node. An archive is called C(RUN_ID.SHA256.tar.gz) there.
    type: path
    required: true
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    description: Says which runs would be fetched.
    support: full
notes:
  - With privilege escalation a large archive goes through the memory of the control node.
author: The nvmelab authors
"""

EXAMPLES = r"""
- name: Fetch the finished runs
  nvmelab.bench.run_fetch:
    dest: "{{ playbook_dir }}/fetched/{{ inventory_hostname }}"
"""

RETURN = r"""
archives:
  description: One entry an archive.
  returned: always
  type: list
  elements: dict
  contains:
    run_id:
      description: The run.
      type: str
    dest:
      description: The archive on the control node; absent in check mode.
      type: str
    sha256:
      description: Its digest; absent in check mode.
      type: str
running:
  description: The runs that are being executed now.
  returned: always
  type: list
  elements: str
skipped:
  description: The runs that cannot be packed, each with run_id and reason.
  returned: always
  type: list
  elements: dict
"""

import base64
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT
from ansible_collections.nvmelab.bench.plugins.module_utils.run import archives as run_archives

ARGUMENTS = {
    **LAB_ROOT,
    "known": {"type": "dict", "default": {}},
    "dest": {"type": "path", "required": True},
}
# Together, in one answer: a transfer by file costs two more turns, memory costs more later.
INLINE_MAX_BYTES = 1024 * 1024


def take_inline(archives: list[dict[str, Any]]) -> None:
    """Move the small archives from their files into the answer, as ``content`` in base64."""
    room_bytes = INLINE_MAX_BYTES
    for archive in archives:
        if archive["size_bytes"] > room_bytes:
            continue
        room_bytes -= archive["size_bytes"]
        path = Path(archive.pop("path"))
        archive["content"] = base64.b64encode(path.read_bytes()).decode("ascii")
        path.unlink()


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    root = Path(module.params["root"])
    try:
        found = run_archives.offer(root, module.params["known"], is_dry=module.check_mode)
        if not module.check_mode:
            take_inline(found.archives)
            if not any("path" in archive for archive in found.archives):
                run_archives.remove(root)
    except NvmelabError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(found.archives or found.interrupted), **asdict(found))


if __name__ == "__main__":
    main()
