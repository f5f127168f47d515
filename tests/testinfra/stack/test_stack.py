# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recipes and the role storage_target left, asked of the host itself (scenario stack)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

ROOT = "/var/lib/nvmelab"
# Product → versions that lie side by side; nothing of what failed is among them.
BUILDS = {
    "fio": ["3.40"],
    "qemu": ["10.1.1", "v10.1.0"],
    "spdk": ["v25.05", "v25.09"],
    "upcie": ["v0.3.2", "v0.6.0"],
    "xnvme": ["v0.8.0"],
}
# Product, version, program → what it says.
PROGRAMS = {
    ("fio", "3.40", "bin/fio --enghelp=xnvme && echo known"): "known",
    ("qemu", "v10.1.0", "bin/qemu-system-x86_64 -device help"): 'name "vfio-user-pci"',
    ("qemu", "10.1.1", "bin/qemu-system-x86_64 --version"): "QEMU emulator",
    ("spdk", "v25.05", "build/bin/nvmf_tgt -v"): "SPDK v25.05",
    ("spdk", "v25.09", "build/bin/vhost -v"): "SPDK v25.09",
    ("upcie", "v0.3.2", "bin/devbind --help"): "--bind",
    ("upcie", "v0.6.0", "bin/hugepages --help"): "setup",
    ("xnvme", "v0.8.0", "bin/xnvme library-info"): "upcie",
}


def prefix(host: Host, product: str, version: str) -> str:
    """Where a version of a product lies."""
    (found,) = host.check_output(f"ls -d {ROOT}/builds/{product}/{version}-*").splitlines()
    return str(found)


def record(host: Host, product: str, version: str) -> dict[str, Any]:
    """The record of a build."""
    text = host.file(f"{prefix(host, product, version)}/build.json").content_string
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.mark.parametrize("product", BUILDS)
def test_versions_lie_side_by_side_and_nothing_else(host: Host, product: str) -> None:
    """A folder for each build that succeeded, all with their record, and the log of the last."""
    names = host.check_output(f"ls -A {ROOT}/builds/{product}").splitlines()
    folders = sorted(name for name in names if name not in {"build.log", ".lock"})
    assert [name.rpartition("-")[0] for name in folders] == BUILDS[product]


@pytest.mark.parametrize(("product", "version", "command"), PROGRAMS)
def test_what_is_installed_works(host: Host, product: str, version: str, command: str) -> None:
    """Each program by its path, without anything of the build's environment."""
    said = host.check_output(f"{prefix(host, product, version)}/{command}")
    assert PROGRAMS[product, version, command] in said


@pytest.mark.parametrize(
    ("product", "version", "repository", "ref"),
    [
        ("fio", "3.40", "axboe/fio", "fio-3.40"),
        ("qemu", "v10.1.0", "qemu-project/qemu", "v10.1.0"),
        ("spdk", "v25.05", "spdk/spdk", "v25.05"),
        ("upcie", "v0.6.0", "safl/upcie", "v0.6.0"),
        ("xnvme", "v0.8.0", "xnvme/xnvme", "v0.8.0"),
    ],
)
def test_the_record_names_the_commit(
    host: Host, product: str, version: str, repository: str, ref: str
) -> None:
    """As git says it of the repository; and the public URL, wherever it was fetched from."""
    source = record(host, product, version)["source"]
    assert source["ref"] == ref
    assert source["commit"] == host.check_output(f"git -C /srv/hub/{repository} rev-parse {ref}^0")
    assert source["url"].endswith(f"://github.com/{repository}") or product == "qemu"
    assert source["fetched_from"] == f"/srv/hub/{repository}"


def test_fio_has_the_xnvme_that_was_built_before_it(host: Host) -> None:
    """It finds the library there at run time, too, where nobody runs ldconfig."""
    inputs = record(host, "fio", "3.40")["inputs"]
    library = f"{prefix(host, 'xnvme', 'v0.8.0')}/lib"
    assert f"-Wl,-rpath,{library}" in inputs["environment"]["LDFLAGS"].split()
    assert inputs["environment"]["PKG_CONFIG_PATH"] == f"{library}/pkgconfig"


def test_spdk_has_its_submodules_and_fio_s_headers(host: Host) -> None:
    """Those that it is built with, at the commits that its tree pins."""
    spdk = record(host, "spdk", "v25.05")
    parts = {item["path"]: item for item in spdk["submodules"]}
    assert parts.keys() == {"dpdk", "isa-l", "isa-l-crypto", "libvfio-user", "fio"}
    pin = host.check_output("git -C /srv/hub/spdk/spdk rev-parse v25.05:libvfio-user")
    assert parts["libvfio-user"]["commit"] == pin
    log = host.file(f"{spdk['prefix']}/build.log").content_string
    assert "# left out --disable-tests:" in log
    assert host.file(f"{spdk['prefix']}/python/spdk/__init__.py").exists


def test_link_time_optimisation_is_of_one_build(host: Host) -> None:
    """As asked for, and on record; the DPDK of that time cannot have it, and goes without."""
    for version, asked, dpdk in (("v25.05", False, ""), ("v25.09", True, "-fno-lto")):
        spdk = record(host, "spdk", version)
        assert ("--enable-lto" in spdk["inputs"]["configure"]) == asked
        log = host.file(f"{spdk['prefix']}/build.log").content_string
        assert f"for DPDK: {dpdk}\n" in log


def test_a_stand_in_is_recorded_as_one(host: Host) -> None:
    """Of the SPDK that could not have its own; its sibling has no mark."""
    marked = {
        version: [p["path"] for p in record(host, "spdk", version)["submodules"] if p["stand_in"]]
        for version in BUILDS["spdk"]
    }
    assert marked == {"v25.05": [], "v25.09": ["isa-l"]}


def test_a_tarball_is_recorded_by_its_checksum(host: Host) -> None:
    """The one that was fetched; it has its subprojects in it, so none was put in."""
    qemu = record(host, "qemu", "10.1.1")
    assert qemu["source"]["kind"] == "tarball"
    assert qemu["source"]["sha256"] == host.file("/srv/hub/qemu-10.1.1.tar.gz").sha256sum
    assert qemu["submodules"] == []


def test_nothing_is_left_of_a_build(host: Host) -> None:
    """No tree that was built in, and no half-made cache of a repository that was not to be had."""
    left = host.check_output(f"find {ROOT} -name '.work-*' -o -name '.new-*' -o -name '*.tmp'")
    assert left == ""


def test_nothing_is_left_of_a_target(host: Host) -> None:
    """Killed, then stopped: no process, unit, socket or record; its log stays."""
    assert "nvmf_tgt" not in host.check_output("ps -eo args")
    assert host.check_output("systemctl list-units --all --plain --no-legend 'nvmelab-*'") == ""
    left = host.check_output(f"find {ROOT}/targets /var/tmp /run/user -type f -o -type s")
    assert [path for path in left.splitlines() if not path.endswith(".log")] == []
