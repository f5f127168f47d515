# SPDX-License-Identifier: GPL-3.0-or-later
"""Which builds guests get: whole ones, of SPDK its client; one of each program among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import guest_payload
from ansible_collections.nvmelab.bench.plugins.module_utils.host.qemu_probe import ProbeError

LDD = """\
	linux-vdso.so.1 (0x00007ffd1a5d2000)
	libnuma.so.1 => /lib/x86_64-linux-gnu/libnuma.so.1 (0x00007f0e43b2c000)
	libcrypto.so.3 => /lib/x86_64-linux-gnu/libcrypto.so.3 (0x00007f0e43000000)
	libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f0e42f20000)
	libmd.so.0 => /lib/x86_64-linux-gnu/libmd.so.0 (0x00007f0e42f20000)
	libfuse3.so.3 => not found
	libaio.so.1 => /lib/x86_64-linux-gnu/libaio.so.1 (0x00007f0e43ac0000)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0e42d3e000)
	/lib64/ld-linux-x86-64.so.2 (0x00007f0e43b4e000)
"""


def probe(path: str) -> dict[str, Any]:
    """Stands for the program."""
    return {"path": path, "version": "3.40", "engines": ["xnvme"]}


def build(root: Path, *names: str) -> str:
    """A prefix with these programs."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return str(root)


def spdk_build(root: Path, *configure: str) -> str:
    """A prefix with a stamp, as source_build leaves it, and SPDK's client."""
    prefix = root / "builds/spdk/v25.05-0a1b2c3d4e5f"
    build(prefix, guest_payload.SPDK_CLIENT)
    stamp = {
        "schema_version": 1, "name": "spdk", "version": "v25.05", "prefix": str(prefix),
        "inputs": {"configure": ["./configure", *configure]}, "source": {"commit": "c0ffee"},
    }  # fmt: skip
    (prefix / "build.json").write_text(json.dumps(stamp))
    return str(prefix)


def test_nothing_given_is_no_payload() -> None:
    """As shipped."""
    assert guest_payload.find([], probe) is None


def test_builds_and_their_programs(tmp_path: Path) -> None:
    """Each prefix once; of SPDK only the client, which not every guest gets."""
    fio, xnvme = build(tmp_path / "fio", "bin/fio"), build(tmp_path / "xnvme", "lib/libxnvme.so")
    spdk = build(tmp_path / "spdk", guest_payload.SPDK_CLIENT)
    found = guest_payload.find([xnvme, fio, spdk, xnvme], probe)
    assert found is not None
    (program,) = found.pop("programs").items()
    assert found == {
        "prefixes": [xnvme, fio, spdk],
        "paths": [xnvme, fio],
        "fio": {**probe(f"{fio}/bin/fio"), "libraries": []},
    }
    none = {"version": None, "commit": None, "target_arch": None, "cpu_flags": [], "libraries": []}
    client = f"{spdk}/{guest_payload.SPDK_CLIENT}"
    assert program == ("spdk_nvme_perf", {"path": client, **none})
    found = guest_payload.find([xnvme], probe)
    assert found is not None
    assert (found["fio"], found["programs"]) == (None, {})


@pytest.mark.parametrize(
    ("arch", "cpu", "flags"),
    [
        ("native", "fpu avx2 avx512f avx512bw", ["avx512f"]),
        ("native", "fpu avx2", []),
        ("x86-64-v2", "fpu avx2 avx512f", []),
        ("x86-64-v4", "fpu avx2", ["avx512f"]),
    ],
)
def test_what_a_build_wants_of_the_cpu(
    tmp_path: Path, arch: str, cpu: str, flags: list[str]
) -> None:
    """Told from what it was built for: of a native build, what this CPU has."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {cpu}\nbugs\t\t:\n")
    prefix = spdk_build(tmp_path, "--with-vfio-user", f"--target-arch={arch}")
    found = guest_payload.find([prefix], probe, cpuinfo=cpuinfo)
    assert found is not None
    program = found["programs"]["spdk_nvme_perf"]
    of_build = {"version": "v25.05", "commit": "c0ffee", "target_arch": arch}
    assert of_build.items() <= program.items()
    assert program["cpu_flags"] == flags


def test_libraries_that_a_guest_may_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the guest's own libc, nor what no guest is without, nor what is not here either."""
    monkeypatch.setattr(guest_payload, "run", lambda _: LDD)
    folder = "/lib/x86_64-linux-gnu"
    assert guest_payload.libraries_of(Path("/p")) == [
        f"{folder}/libnuma.so.1", f"{folder}/libmd.so.0", f"{folder}/libaio.so.1",
    ]  # fmt: skip


def test_fio_names_its_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configure takes what it finds on the host, such as libnuma, and a guest may lack it."""
    monkeypatch.setattr(guest_payload, "run", lambda _: LDD)
    found = guest_payload.find([build(tmp_path / "fio", "bin/fio")], probe)
    assert found is not None
    assert "/lib/x86_64-linux-gnu/libnuma.so.1" in found["fio"]["libraries"]


def test_a_host_without_ldd_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest may have all of them."""

    def gone(_: object) -> str:
        raise ProbeError("ldd: cannot be asked what it can do")

    monkeypatch.setattr(guest_payload, "run", gone)
    assert guest_payload.libraries_of(Path("/p")) == []


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """A folder that is not there, two fios, and two clients."""
    with pytest.raises(BadInputError, match=f"guest_prefixes: {tmp_path}/no: no such folder"):
        guest_payload.find([str(tmp_path / "no")], probe)
    for name, program in (("fio", "bin/fio"), ("spdk_nvme_perf", guest_payload.SPDK_CLIENT)):
        pair = [build(tmp_path / name / one, program) for one in ("a", "b")]
        with pytest.raises(BadInputError, match=f"wanted one {name} for the guests"):
            guest_payload.find(pair, probe)
