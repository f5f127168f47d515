# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of another suite in a folder of their own, with a stand-in for mmdebstrap."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.image import (
    debian_archive,
    package_root,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import ImageBuildError
from ansible_collections.nvmelab.bench.plugins.module_utils.image.package_root import (
    PackageRoot,
    PackageRootError,
)

WANTED = PackageRoot(
    name="tools",
    suite="trixie-backports",
    packages=("tools-x86",),
    programs=("tool",),
    archive_url="http://archive.test/debian",
)
# Unpacks one program, which prints how it was started, behind a loader that only starts it.
MMDEBSTRAP = """#!/bin/sh
for word; do case $word in
  --extract-hook=*) hook=${word#--extract-hook=} ;;
  */tree) tree=$word ;;
esac; done
[ ! -e "${tree%/*}/../../fails" ] || { echo "E: Unable to locate package tools-x86"; exit 25; }
cd "$tree/.." && mkdir tree && cd tree && lib=usr/lib/x86_64-linux-gnu
mkdir -p usr/bin $lib usr/share/doc var/cache/apt/archives
printf '#!/bin/sh\\necho "tool $*"\\n' > usr/bin/tool
printf '#!/bin/sh\\nshift 2\\nexec sh "$@"\\n' > $lib/ld-linux-x86-64.so.2
chmod +x usr/bin/tool $lib/ld-linux-x86-64.so.2
: > var/cache/apt/archives/tools-x86_1%3a11.1+ds-1_amd64.deb
sh -c "$hook" sh "$tree"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab directory, and a PATH with the stand-in first."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "mmdebstrap").write_text(MMDEBSTRAP)
    (bin_ / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:/usr/sbin:/usr/bin:/sbin:/bin")
    lab = tmp_path / "lab dir"
    lab.mkdir()
    return lab


def test_made_once_and_found_again(root: Path) -> None:
    """What was made is read back: versions as dpkg writes them, scripts that pass words on."""
    assert package_root.read(WANTED, root) is None
    made = package_root.make(WANTED, root)
    assert package_root.read(WANTED, root) == made
    assert made["packages"] == {"tools-x86": "1:11.1+ds-1"}
    done = subprocess.run(
        [made["programs"]["tool"], "a b", "c"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "tool a b c\n"
    tree = WANTED.directory(root) / "tree"
    assert sorted(path.name for path in tree.iterdir()) == ["usr"]
    assert not (tree / "usr/share/doc").exists()


def test_other_inputs_lie_elsewhere(root: Path) -> None:
    """Another suite, package or program is another folder: versions stand side by side."""
    others = [
        replace(WANTED, suite="trixie"),
        replace(WANTED, packages=("tools-x86", "more")),
        replace(WANTED, programs=()),
    ]
    assert len({one.directory(root) for one in (WANTED, *others)}) == 4


def test_failure_leaves_nothing_but_its_log(root: Path) -> None:
    """The error has mmdebstrap's last words, its log stays, and the next call repairs."""
    (root / "fails").touch()
    with pytest.raises(ImageBuildError, match="Unable to locate package tools-x86") as caught:
        package_root.make(WANTED, root)
    assert caught.value.log
    assert Path(caught.value.log).is_file()
    assert [path.name for path in (root / "roots").iterdir()] == [Path(caught.value.log).name]
    (root / "fails").unlink()
    assert package_root.make(WANTED, root)["programs"]


def test_program_that_no_package_has(root: Path) -> None:
    """A program that is not there is refused by name, and nothing stays that could be taken."""
    wanted = replace(WANTED, programs=("tool", "absent"))
    with pytest.raises(PackageRootError, match="absent: in none of the packages tools-x86"):
        package_root.make(wanted, root)
    assert package_root.read(wanted, root) is None


def test_lost_script_is_made_again(root: Path) -> None:
    """A folder that has lost a script does not count as there."""
    made = package_root.make(WANTED, root)
    Path(made["programs"]["tool"]).unlink()
    assert package_root.read(WANTED, root) is None


def test_missing_tools_are_named_with_their_packages(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without mmdebstrap the message says what to install."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PackageRootError, match="apt-get install mmdebstrap util-linux"):
        package_root.make(WANTED, root)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a/b"},
        {"suite": "trixie; reboot"},
        {"packages": ("a b",)},
        {"programs": ("../../bin/sh",)},
    ],
)
def test_names_that_cannot_be_meant(change: dict[str, object]) -> None:
    """What could not be a name is refused before anything is touched, with its option."""
    with pytest.raises(BadInputError, match=f"package_root {next(iter(change))}: found"):
        replace(WANTED, **change).check()  # type: ignore[arg-type]


def test_backports_come_on_top_of_their_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """All entries of the release stay, backports are added, and apt prefers them."""
    host = [
        debian_archive.Source("http://archive.test/debian", "trixie", ("main",)),
        debian_archive.Source("http://archive.test/security", "trixie-security", ("main",)),
    ]
    monkeypatch.setattr(debian_archive, "host_archive", lambda suite: (host, f"// {suite}\n"))
    entries, options = package_root.sources(replace(WANTED, archive_url=None))
    assert [(one.uri, one.suite) for one in entries] == [
        ("http://archive.test/debian", "trixie"),
        ("http://archive.test/security", "trixie-security"),
        ("http://archive.test/debian", "trixie-backports"),
    ]
    assert options == '// trixie\nAPT::Default-Release "trixie-backports";\n'


def test_qemu_finds_its_own_firmware_and_modules() -> None:
    """QEMU is given its tree's firmware, and the host's modules are covered by its own."""
    text = package_root.script(Path("/l/tree/usr/bin/qemu-system-x86_64"), Path("/l/tree"))
    assert "-L /l/tree/usr/share/qemu" in text
    assert (
        "mount --bind /l/tree/usr/lib/x86_64-linux-gnu/qemu /usr/lib/x86_64-linux-gnu/qemu" in text
    )
    other = package_root.script(Path("/l/tree/usr/bin/qemu-storage-daemon"), Path("/l/tree"))
    assert "-L" not in other.split()
