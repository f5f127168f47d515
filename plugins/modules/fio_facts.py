#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: fio output files on a host -> facts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fio_facts
short_description: Read fio output files into facts
version_added: "0.1.0"
description:
  - Reads JSON and JSON+ output of fio 2.0 to 3.42 on the host where it lies, and returns one row
    for each job and direction with I/O, in the same units whatever the version of fio.
  - Text before, between and after the JSON is skipped. Several documents in a file
    (C(--status-interval), appended runs), client/server output and every kind of
    C(unified_rw_reporting) are understood.
  - What fio did not measure is null, never 0.
  - A file that is broken, cut off, or in another format fails the task with its name, the place
    and the cause. No part of such a file is returned.
options:
  path:
    description: Files to read, each the file of fio's C(--output) or its standard output.
    type: list
    elements: path
    required: true
  last_document_only:
    description:
      - Whether to return only the rows of the last document of each file.
      - The documents of C(--status-interval) are cumulative, so their rows must not be added up.
    type: bool
    default: false
  fields:
    description:
      - Names of the row's fields to return; all when left out. RV(ansible_facts.fio_rows) has
        them.
      - A result above 700 kB is refused, for Ansible Runner drops larger ones in silence. With
        all fields that is some 900 rows.
    type: list
    elements: str
notes:
  - Histograms (C(bins) of JSON+) are not returned, for their size. They are used where the wanted
    percentile is not in fio's C(percentile_list).
attributes:
  check_mode:
    description: Nothing is changed, so check mode does the same.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
  facts:
    description: Returns facts.
    support: full
author:
  - The nvmelab authors (@nvmelab)
seealso:
  - name: fio manual, JSON output
    description: What fio writes.
    link: https://fio.readthedocs.io/en/latest/fio_doc.html#json-output
"""

EXAMPLES = r"""
- name: Read two results
  nvmelab.bench.fio_facts:
    path:
      - /srv/results/randread.json
      - /srv/results/randwrite.json

- name: Require 100 k IOPS of every reading job
  ansible.builtin.assert:
    that: item.iops > 100000
    fail_msg: "{{ item.job_name }} in {{ item.file }}: {{ item.iops | round | int }} IOPS"
  loop: "{{ fio_rows | selectattr('direction', '==', 'read') | rejectattr('is_aggregate') }}"
  loop_control:
    label: "{{ item.job_name }}"

- name: Read the end of a run with --status-interval, three figures a row
  nvmelab.bench.fio_facts:
    path: /srv/results/soak.json
    last_document_only: true
    fields: [job_name, direction, clat_p99_9_ns]
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to the host.
  returned: success
  type: dict
  contains:
    fio_rows:
      description:
        - One row for each job (under C(group_reporting) each group) and direction with I/O, in the
          order of files, documents, jobs, directions.
        - C(file), C(document) (from 0), C(is_last_document), C(fio_version), C(job_name),
          C(group_id), C(hostname) (of the fio server, null without client/server), C(direction)
          (read, write, trim, mixed, sync), C(is_aggregate) (other rows are counted in this one).
        - C(iops), C(bw_bytes_per_s), C(io_bytes), C(total_ios), C(runtime_ms).
        - C(slat_mean_ns) (submission), C(clat_mean_ns), C(clat_stddev_ns), C(clat_p50_ns),
          C(clat_p99_ns), C(clat_p99_9_ns) (completion), C(lat_mean_ns), C(lat_p99_ns) (total).
        - C(error) (errno of the job, 0 for none), C(job_index) (from 0, in the document), and
          the job's options C(rw), C(bs), C(iodepth), C(numjobs), C(ioengine), null where fio does
          not list them.
      type: list
      elements: dict
      sample:
        - {"direction": "read", "job_name": "mix", "iops": 1377421.67, "clat_p99_ns": 171}
    fio_files:
      description: One entry for each file, in the order of O(path).
      type: list
      elements: dict
      contains:
        path:
          description: As given.
          type: str
        sha256:
          description: Digest of the file's bytes.
          type: str
        size_bytes:
          description: Size of the file.
          type: int
        fio_version:
          description: Version of fio, as the last document names it.
          type: str
          sample: fio-3.33
        document_count:
          description: Number of documents in the file.
          type: int
        row_count:
          description: Number of rows returned of this file.
          type: int
        failed_jobs:
          description:
            - Jobs that ended with an error before any I/O. They have no row.
            - Each has C(job_name), C(group_id), C(hostname), C(error).
          type: list
          elements: dict
errors:
  description: One entry for each file that could not be read.
  returned: failure
  type: list
  elements: dict
  contains:
    path:
      description: As given.
      type: str
    line:
      description: Line, from 1; null when the trouble is not at one place.
      type: int
    column:
      description: Column, from 1; null as above.
      type: int
    cause:
      description: What is wrong, in a sentence.
      type: str
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any, Dict, List, Tuple

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import (
    ROW_KEYS,
    FioOutputError,
    output_from_bytes,
    read_bytes,
)

# ansible-runner replaces the result of an event above this by nothing.
RESULT_LIMIT_BYTES = 700_000

ARGUMENT_SPEC = {
    "path": {"type": "list", "elements": "path", "required": True},
    "last_document_only": {"type": "bool", "default": False},
    "fields": {"type": "list", "elements": "str"},
}


def facts_of_file(
    path: str, fields: List[str], *, last_document_only: bool
) -> Tuple[Dict[str, Any], List[Dict[str, Any]]]:
    """Return the entry of ``fio_files`` and the rows of one file.

    Raises:
        FioOutputError: it cannot be read, or is not fio's JSON.
    """
    data = read_bytes(path)
    output = output_from_bytes(data, file=path)
    rows = [
        {key: row[key] for key in fields}
        for row in (row.as_dict() for row in output.rows)
        if row["is_last_document"] or not last_document_only
    ]
    entry = {
        "path": path,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "fio_version": output.fio_versions[-1],
        "document_count": output.document_count,
        "row_count": len(rows),
        "failed_jobs": [asdict(job) for job in output.failed_jobs],
    }
    return entry, rows


def facts_of_files(params: Dict[str, Any]) -> Tuple[Dict[str, Any], List[Dict[str, Any]]]:
    """Return the facts, and what is wrong with each file that could not be read."""
    facts: Dict[str, Any] = {"fio_rows": [], "fio_files": []}
    errors: List[Dict[str, Any]] = []
    for path in params["path"]:
        try:
            entry, rows = facts_of_file(
                path,
                params["fields"] or list(ROW_KEYS),
                last_document_only=params["last_document_only"],
            )
        except FioOutputError as error:
            where = {"line": error.line, "column": error.column}
            errors.append({"path": path, "cause": error.cause, **where, "msg": str(error)})
        else:
            facts["fio_files"].append(entry)
            facts["fio_rows"] += rows
    return facts, errors


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    unknown = sorted(set(module.params["fields"] or []) - set(ROW_KEYS))
    if unknown:
        module.fail_json(msg=f"fields: unknown {unknown}; wanted any of {list(ROW_KEYS)}")
    facts, errors = facts_of_files(module.params)
    if errors:
        module.fail_json(msg="; ".join(error.pop("msg") for error in errors), errors=errors)
    size_bytes = len(json.dumps(facts))
    if size_bytes > RESULT_LIMIT_BYTES:
        module.fail_json(
            msg=f"{len(facts['fio_rows'])} rows make a result of {size_bytes} bytes, at most "
            f"{RESULT_LIMIT_BYTES} survive Ansible Runner: read fewer files in a task, or name "
            "the fields that are needed in `fields`"
        )
    module.exit_json(changed=False, ansible_facts=facts)


if __name__ == "__main__":
    main()
