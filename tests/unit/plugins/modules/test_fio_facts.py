# SPDX-License-Identifier: GPL-3.0-or-later
"""The module fio_facts, run as Ansible runs it, and its documentation."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import (
    ROW_KEYS,
    rows_from_file,
)
from ansible_collections.nvmelab.bench.plugins.modules import fio_facts

FIXTURES = Path(__file__).resolve().parents[4] / "tests/fixtures/fio"
STATUS = str(FIXTURES / "gen-sigkill-3.33.json")
FAILED = str(FIXTURES / "gen-missing-file-3.33.json")
NAN = str(FIXTURES / "syn-nan.json")
TERSE = str(FIXTURES / "gen-terse-v3.terse")


def _run(**params: object) -> dict[str, Any]:
    """Return the result of the module in a process of its own, with arguments on stdin."""
    done = subprocess.run(
        [sys.executable, fio_facts.__file__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": params}),
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if result.get("failed") else 0), done.stderr
    return result


@pytest.mark.parametrize("arguments", [{}, {"_ansible_check_mode": True}])
def test_rows_and_files(arguments: dict[str, bool]):
    """Rows are the reader's, files have digest, size and version; check mode is no different."""
    result = _run(path=[STATUS, FAILED], **arguments)
    assert result["changed"] is False
    facts = result["ansible_facts"]
    assert facts["fio_rows"] == [row.as_dict() for row in rows_from_file(STATUS)]
    data = Path(STATUS).read_bytes()
    assert facts["fio_files"] == [
        {
            "path": STATUS,
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
            "fio_version": "fio-3.33",
            "document_count": 3,
            "row_count": 6,
            "failed_jobs": [],
        },
        {
            **facts["fio_files"][1],
            "path": FAILED,
            "row_count": 0,
            "failed_jobs": [{"job_name": "miss", "group_id": 0, "hostname": None, "error": 2}],
        },
    ]


def test_last_document_and_fields():
    """Only the last document's rows, only the fields that were named, in the order named."""
    result = _run(path=STATUS, last_document_only=True, fields=["iops", "direction"])
    rows = result["ansible_facts"]["fio_rows"]
    expected = [row for row in rows_from_file(STATUS) if row.is_last_document]
    assert rows == [{"iops": row.iops, "direction": row.direction} for row in expected]
    assert result["ansible_facts"]["fio_files"][0]["row_count"] == 2


def test_unknown_field():
    """A misspelt field is named, with those that there are."""
    result = _run(path=[STATUS], fields=["iops", "clat_p99"])
    assert result["failed"]
    assert result["msg"].startswith("fields: unknown ['clat_p99']; wanted any of ['file', ")


def test_bad_files():
    """Every bad file is named with place and cause; no facts of the good one."""
    result = _run(path=[NAN, STATUS, TERSE, "/nonexistent/fio.json"])
    assert result["failed"]
    assert "ansible_facts" not in result
    assert [(error["path"], error["line"]) for error in result["errors"]] == [
        (NAN, 80),
        (TERSE, 1),
        ("/nonexistent/fio.json", None),
    ]
    assert f"{NAN}: line 80, column 20: nan is not a JSON number" in result["msg"]
    assert "/nonexistent/fio.json: cannot be read: No such file or directory" in result["msg"]


def test_result_too_large(tmp_path: Path):
    """Above what ansible-runner keeps the task fails and says what to do; fewer fields fit."""
    document = json.loads((FIXTURES / "gen-v3.42-randrw-2jobs.json").read_text())
    document["jobs"] *= 300
    path = tmp_path / "many.json"
    path.write_text(json.dumps(document))
    result = _run(path=[str(path)])
    assert result["failed"]
    assert result["msg"].startswith("1200 rows make a result of ")
    result = _run(path=[str(path)], fields=["job_name", "iops"])
    assert len(result["ansible_facts"]["fio_rows"]) == 1200


def test_documentation_is_true():
    """Every row key is told."""
    (rows,) = (
        value["contains"]["fio_rows"]["description"]
        for key, value in yaml.safe_load(fio_facts.RETURN).items()
        if key == "ansible_facts"
    )
    assert [key for key in ROW_KEYS if f"C({key})" not in " ".join(rows)] == []
    assert all(
        "nvmelab.bench" in str(task) or "assert" in str(task)
        for task in yaml.safe_load(fio_facts.EXAMPLES)
    )
