# SPDX-License-Identifier: GPL-3.0-or-later
"""Tarballs that mean no good, and tarballs of unusual shape."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.build import files
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import BuildError


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """An entry of a tarball; a regular file is empty and may be run by all."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid = kind, link, 0o4777, 1234
    return info


def tarball(path: Path, *members: tarfile.TarInfo) -> Path:
    """A tarball of these entries."""
    with tarfile.open(path, "w") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO())
    return path


def unpack(path: Path, folder: Path) -> None:
    """Unpack it as the engine does."""
    folder.mkdir()
    files.unpack_source(path, files.sha256_of(path), folder, "greet 1.0")


@pytest.mark.parametrize(
    "bad",
    [
        member("../out"),
        member("a/../../out"),
        member("/etc/out"),
        member("a/link", tarfile.SYMTYPE, "../../out"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.LNKTYPE, "../out"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.linkname}",
)
def test_what_leads_out_of_the_tree_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    """Before anything is unpacked; the entry is named."""
    path = tarball(tmp_path / "bad.tar", member("fine"), bad)
    with pytest.raises(BuildError, match=f"greet 1.0: {bad.name} leads out of the archive"):
        unpack(path, tmp_path / "tree")
    assert list((tmp_path / "tree").iterdir()) == []


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["greet-1/a", "greet-1/b/c"], {"a", "b/c"}),
        (["greet/greet", "greet/x"], {"greet", "x"}),
        (["a", "b/c"], {"a", "b/c"}),
        (["only"], {"only"}),
    ],
)
def test_the_one_folder_is_left_out(tmp_path: Path, names: list[str], wanted: set[str]) -> None:
    """Also when it holds a file of its own name; what has no such folder stays as it is."""
    unpack(tarball(tmp_path / "t.tar", *map(member, names)), tmp_path / "tree")
    tree = tmp_path / "tree"
    assert {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()} == wanted
    assert {path.name for path in tmp_path.iterdir()} == {"t.tar", "tree"}


def test_links_inside_and_the_right_to_run_are_kept(tmp_path: Path) -> None:
    """Set-id bits and the right of others to write are not."""
    link = member("top/bin/link", tarfile.SYMTYPE, "../run")
    unpack(tarball(tmp_path / "t.tar", member("top/run"), link), tmp_path / "tree")
    assert (tmp_path / "tree/bin/link").readlink() == Path("../run")
    assert (tmp_path / "tree/run").stat().st_mode & 0o7777 == 0o755


def damaged(path: Path) -> None:
    """Change a byte in the cache."""
    path.write_bytes(path.read_bytes() + b"x")


def cut(path: Path) -> None:
    """Leave the half of it."""
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("harm", [damaged, cut])
def test_a_copy_that_rotted_is_removed(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """So that the next run fetches it again."""
    path = tarball(tmp_path / "t.tar", member("a"))
    wanted = files.sha256_of(path)
    harm(path)
    with pytest.raises(BuildError, match="was damaged and is removed; run again"):
        files.unpack_source(path, wanted, tmp_path, "greet 1.0")
    assert not path.exists()


def test_what_is_no_tarball_is_said_so(tmp_path: Path) -> None:
    """A page of a proxy, for example, whose checksum somebody wrote down."""
    page = tmp_path / "page"
    page.write_text("<html>please log in</html>")
    with pytest.raises(BuildError, match=r"greet 1\.0: not a tar archive"):
        unpack(page, tmp_path / "tree")
