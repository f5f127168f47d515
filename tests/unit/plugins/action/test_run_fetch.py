# SPDX-License-Identifier: GPL-3.0-or-later
"""run_fetch on both sides: what arrives is what left, whichever way it went."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.nvmelab.bench.plugins.action import run_fetch
from ansible_collections.nvmelab.bench.plugins.modules import run_fetch as module

CONTENT = b"a run's archive"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Action(run_fetch.ActionModule):  # type: ignore[misc]
    """The plugin with a lab host made of a folder."""

    def __init__(self, answer: dict[str, Any], dest: Path, **connection: Any) -> None:
        self.answer = answer
        self.commands: list[str] = []
        self.modules: list[str] = []
        self._task = SimpleNamespace(args={"dest": str(dest)}, check_mode=False)
        copy = {"become": False, "fetch_file": shutil.copy}
        self._connection = SimpleNamespace(**{**copy, **connection})

    def _execute_module(self, module_name: str, **_: Any) -> dict[str, Any]:
        self.modules.append(module_name)
        if module_name == run_fetch.MODULE:
            return self.answer
        return {"content": base64.b64encode(CONTENT).decode(), "encoding": "base64"}

    def _low_level_execute_command(self, command: str) -> None:
        self.commands.append(command)


@pytest.fixture(autouse=True)
def _no_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})


def _archive(**changes: Any) -> dict[str, Any]:
    return {"run_id": "r1", "sha256": SHA256, "size_bytes": len(CONTENT), **changes}


def _large(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "out going" / "r1.tar.gz"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return _archive(path=str(path))


def _check_arrived(result: dict[str, Any], dest: Path) -> None:
    (archive,) = result["archives"]
    assert not result.get("failed")
    assert archive["dest"] == str(dest / f"r1.{SHA256}.tar.gz")
    assert Path(archive["dest"]).read_bytes() == CONTENT
    assert "content" not in archive


def test_small_archive_comes_with_the_answer(tmp_path: Path) -> None:
    """No second turn to the host, and the content does not stay in the result."""
    action = Action({"archives": [_archive(content=base64.b64encode(CONTENT).decode())]}, tmp_path)
    _check_arrived(action.run(), tmp_path)
    assert action.modules == [run_fetch.MODULE]
    assert action.commands == []


def test_large_archive_is_fetched_and_removed(tmp_path: Path) -> None:
    """A file transfer, then the file on the host is removed, odd names quoted."""
    action = Action({"archives": [_large(tmp_path)]}, tmp_path / "dest")
    _check_arrived(action.run(), tmp_path / "dest")
    assert action.commands == [f"rm -f -- '{tmp_path}/out going/r1.tar.gz'"]


def test_archive_of_another_user_is_read_with_privilege(tmp_path: Path) -> None:
    """With become the user who logs in may not read the file: the module slurp does."""
    action = Action({"archives": [_large(tmp_path)]}, tmp_path / "dest", become=True)
    _check_arrived(action.run(), tmp_path / "dest")
    assert action.modules == [run_fetch.MODULE, "ansible.legacy.slurp"]


def test_damage_on_the_way_is_a_failure_and_leaves_no_file(tmp_path: Path) -> None:
    """What arrived differs: failed with both sums, no file; what came before stays."""
    good = _archive(content=base64.b64encode(CONTENT).decode())
    bad = _archive(run_id="r2", content=base64.b64encode(b"other").decode())
    result = Action({"archives": [good, bad]}, tmp_path).run()
    assert result["failed"]
    assert "r2" in result["msg"]
    assert SHA256 in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == [f"r1.{SHA256}.tar.gz"]
    assert "dest" in result["archives"][0]
    assert "dest" not in result["archives"][1]


def test_lost_connection_is_left_to_ansible(tmp_path: Path) -> None:
    """A host that goes away is unreachable, not failed; Ansible tells that from the exception."""

    def gone(*_: str) -> None:
        raise AnsibleConnectionFailure("gone")

    with pytest.raises(AnsibleConnectionFailure):
        Action({"archives": [_large(tmp_path)]}, tmp_path / "dest", fetch_file=gone).run()


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "x"}, {"archives": []}])
def test_nothing_to_fetch(tmp_path: Path, answer: dict[str, Any]) -> None:
    """The module's failure, or that there is nothing new, goes through unchanged."""
    assert Action(dict(answer), tmp_path / "dest").run() == answer
    assert not (tmp_path / "dest").exists()


def test_check_mode_fetches_nothing(tmp_path: Path) -> None:
    """Only what would be fetched is said."""
    action = Action({"archives": [{"run_id": "r1"}]}, tmp_path / "dest")
    action._task.check_mode = True
    assert action.run() == {"archives": [{"run_id": "r1"}]}


def test_module_puts_small_archives_into_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there is room for, their files gone; the rest keeps its file."""
    monkeypatch.setattr(module, "INLINE_MAX_BYTES", 10)
    archives = []
    for name, size in (("a", 6), ("b", 6), ("c", 4)):
        (tmp_path / name).write_bytes(name.encode() * size)
        archives.append({"run_id": name, "path": str(tmp_path / name), "size_bytes": size})
    module.take_inline(archives)
    assert [base64.b64decode(a["content"]) for a in archives if "content" in a] == [
        b"aaaaaa", b"cccc"
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert archives[1]["path"] == str(tmp_path / "b")
