# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories shaped like those of the headline stack, each built in a moment.

They take the commands that the roles give, behave as the real ones where a role counts on it (a
fio without xNVMe is built all the same), and their programs are shell scripts. Only the targets
of SPDK serve: they are fake_nvmf_tgt.py.

usage: upstream_fakes.py FOLDER
"""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from git_sources import Origin, origin

FIO_CONFIGURE = """#!/bin/sh
set -eu
prefix=/usr/local
for word; do case "$word" in
  --prefix=*) prefix=${word#--prefix=};;
  --disable-native|--disable-gfapi|--disable-http|--disable-pmem) ;;
  --disable-rados|--disable-rbd|--disable-rdma) ;;
  *) echo "unknown option $word"; exit 1;;
esac; done
engines="libaio io_uring"
if pkg-config --exists xnvme; then engines="$engines xnvme"; else echo "xnvme engine   no"; fi
printf 'prefix = %s\\nengines = %s\\n' "$prefix" "$engines" > config-host.mak
touch config-host.h
"""
FIO_MAKEFILE = """include config-host.mak
fio: fio.in
\tsed "s/@ENGINES@/$(engines)/" fio.in > fio
install: fio
\tinstall -D fio $(prefix)/bin/fio
"""
FIO = """#!/bin/sh
case "$1" in
  --version) echo fio-3.40;;
  --enghelp=*) for engine in @ENGINES@; do test "--enghelp=$engine" != "$1" || exit 0; done
    echo "fio: engine ${1#*=} not loadable" >&2; exit 1;;
esac
"""
XNVME_MESON = """project('xnvme')
assert(get_option('wrap_mode') == 'nodownload', 'this would download SPDK')
install_data('xnvme', install_dir: get_option('bindir'), install_mode: 'rwxr-xr-x')
pc = 'Name: xnvme\\nDescription: x\\nVersion: 0.7.5\\n'
configure_file(input: 'xnvme.pc.in', output: 'xnvme.pc', configuration: {'TEXT': pc},
  install_dir: get_option('libdir') / 'pkgconfig')
"""
XNVME_OPTIONS = "option('be_upcie', type: 'boolean', value: true)\n" + "".join(
    f"option('with-{name}', type: 'feature', value: 'auto')\n"
    for name in ("spdk", "libvfn", "isal", "cuda", "hip")
)
XNVME_OPTIONS += "".join(
    f"option('{name}', type: 'boolean', value: true)\n" for name in ("examples", "tests")
)
UPCIE_MESON = "project('upcie')\ninstall_data('upcie.h', install_dir: get_option('includedir'))\n"
SPDK_CONFIGURE = """#!/bin/sh
set -eu
options="--with-vfio-user --with-fio --target-arch --enable-lto --disable-unit-tests"
test "${1:-}" != --help || { for option in $options; do echo " $option  x"; done; exit 0; }
for word; do case " $options " in *" ${word%%=*} "*) ;; *) echo "ERROR: $word"; exit 1;; esac; done
for part in dpdk isa-l isa-l-crypto libvfio-user; do
  test -e $part/part || { echo "ERROR: $part is missing"; exit 1; }
done
echo "$*" > config.mk
"""
SPDK_MAKEFILE = """all:
\ttest -e fio/config-host.h
\t@echo "for DPDK: $(EXTRA_DPDK_CFLAGS)"
\tmkdir -p build/bin build/examples build/fio
\tfor name in nvmf_tgt spdk_tgt vhost spdk_nvme_perf spdk_nvme_identify; do \\
\t  install app.sh build/bin/$$name; done
\tinstall app.sh build/examples/bdevperf
\ttouch build/fio/spdk_nvme build/fio/spdk_bdev
"""
# Whoever starts it knows it by its process id; -B, for what is installed stays as it is.
SPDK_APP = """#!/bin/sh
test "$*" != -v || { echo "SPDK VERSION"; exit; }
exec python3 -B "$(dirname "$0")/../../python/spdk/fake_nvmf_tgt.py" "$@"
"""
# What a DPDK has that cannot be linked with LTO.
VERSIONING = "lib/eal/include/rte_function_versioning.h"
SPDK_SERVER = ("fake_nvmf_tgt", "nvme_controller", "spdk_model", "vfio_user_server")
SPDK = {
    "configure": SPDK_CONFIGURE,
    "Makefile": SPDK_MAKEFILE,
    "scripts/rpc.py": "#!/usr/bin/env python3\n",
    "python/spdk/__init__.py": "",
}
TOOL = "#!/bin/sh\necho 'usage: --bind setup'\n"
QEMU_CONFIGURE = """#!/bin/sh
set -eu
for word; do case "$word" in
  --prefix=*) prefix=${word#--prefix=};;
  --target-list=x86_64-softmmu|--enable-*|--disable-docs|--disable-download) ;;
  *) echo "ERROR: unknown option $word"; exit 1;;
esac; done
for part in keycodemapdb/part berkeley-softfloat-3/meson.build berkeley-testfloat-3/meson.build; do
  test -e subprojects/$part || { echo "ERROR: subprojects/$part is missing"; exit 1; }
done
mkdir build
cat > build/build.ninja <<END
rule copy
  command = sed s/@DEVICES@/$(paste -sd, devices)/ < \\$in > \\$out
rule install
  command = install -D \\$in $prefix/bin/\\$in && install -D -t $prefix/share/qemu ../pc-bios/*
build qemu-system-x86_64: copy ../qemu.in
build install: install qemu-system-x86_64
default qemu-system-x86_64
END
"""
QEMU_PROGRAM = """#!/bin/sh
case "$*" in
  --version) echo QEMU emulator version 10.1.0;;
  "-device help") echo @DEVICES@ | tr , '\\n' | sed 's/.*/name "&", bus PCI/';;
esac
"""
QEMU = {
    "configure": QEMU_CONFIGURE,
    "qemu.in": QEMU_PROGRAM,
    "devices": "nvme\nvhost-user-blk-pci\n",
    "pc-bios/bios-256k.bin": "seabios",
    "pc-bios/qboot.rom": "qboot",
    "subprojects/packagefiles/berkeley-softfloat-3/meson.build": "",
    "subprojects/packagefiles/berkeley-testfloat-3/meson.build": "",
}
QEMU_PARTS = ("keycodemapdb", "berkeley-softfloat-3", "berkeley-testfloat-3")
PARTS = {"dpdk": "dpdk", "isa-l": "isa-l", "isa-l-crypto": "isa-l_crypto", "libvfio-user": "vfu"}


@dataclass(frozen=True)
class Hub:
    """A folder of repositories; one mirror entry for each forge leads there."""

    folder: Path

    def repository(self, name: str, files: Mapping[str, str], tag: str) -> Origin:
        """A new repository with one tagged commit."""
        made = origin(self.folder / name)
        made.commit(files, tag=tag)
        return made

    def fio(self) -> None:
        """A release that knows of no xNVMe, and two that do."""
        deaf = FIO_CONFIGURE.replace("pkg-config --exists xnvme", "false")
        files = {"configure": deaf, "Makefile": FIO_MAKEFILE, "fio.in": FIO}
        made = self.repository("axboe/fio", files, "fio-3.30")
        made.commit({"configure": FIO_CONFIGURE}, tag="fio-3.40")
        made.commit({"news": "3.42"}, tag="fio-3.42")

    def xnvme(self) -> None:
        """Its program names the backend that is asked for."""
        files = {
            "meson.build": XNVME_MESON,
            "meson_options.txt": XNVME_OPTIONS,
            "xnvme": "#!/bin/sh\necho upcie\n",
            "xnvme.pc.in": "@TEXT@",
        }
        self.repository("xnvme/xnvme", files, "v0.8.0")

    def upcie(self) -> None:
        """A release without the tools, and two older ones with them; only the tags tell an age."""
        made = self.repository("safl/upcie", {"meson.build": UPCIE_MESON, "upcie.h": ""}, "v0.6.0")
        made.commit({"scripts/devbind.py": TOOL, "scripts/hugepages.py": TOOL}, tag="v0.4.2")
        made.git("tag", "v0.3.2")

    def spdk(self) -> None:
        """SPDK with the submodules that are wanted, and one that is not to be had.

        Of v25.09, one that is wanted is not to be had either.
        """
        made = origin(self.folder / "spdk/spdk")
        for path, name in PARTS.items():
            tree = {"part": path, VERSIONING: "#define BIND_DEFAULT_SYMBOL(b, e, n)\n"}
            part = self.repository(f"parts/{name}", tree, "v1")
            made.submodule(path, f"../../parts/{name}", part.git("rev-parse", "HEAD"))
        made.submodule("ocf", "../../parts/nosuch", "a" * 40)
        here = Path(__file__).parent
        server = {f"{name}.py": (here / f"{name}.py").read_text("utf-8") for name in SPDK_SERVER}
        files = {**SPDK, **{f"python/spdk/{name}": text for name, text in server.items()}}
        made.commit({**files, "app.sh": SPDK_APP.replace("VERSION", "v25.05")}, tag="v25.05")
        made.submodule("isa-l", "../../parts/lost", "b" * 40)
        made.commit({"app.sh": SPDK_APP.replace("VERSION", "v25.09")}, tag="v25.09")
        self.repository("parts/other", {"part": "isa-l"}, "v2")

    def qemu(self) -> None:
        """A release before vfio-user-pci, one that has it, and one as a tarball.

        The tarball has in it what are repositories beside the others.
        """
        folder = self.folder / "qemu-project"
        for name in QEMU_PARTS:
            self.repository(f"qemu-project/{name}", {"part": name}, "v1")
        made = self.repository("qemu-project/qemu", QEMU, "v9.2.0")
        made.commit({"devices": f"{QEMU['devices']}vfio-user-pci\n"}, tag="v10.1.0")
        with tarfile.open(self.folder / "qemu-10.1.1.tar.gz", "w:gz") as tar:
            tar.add(folder / "qemu", "qemu-10.1.1", filter=_without_history)
            for name in QEMU_PARTS:
                tar.add(folder / name, f"qemu-10.1.1/subprojects/{name}", filter=_without_history)


def _without_history(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith(".git") else member


def hub(folder: Path) -> Hub:
    """Repositories at the places and with the tags that the roles ask for."""
    made = Hub(folder)
    for product in (made.fio, made.xnvme, made.upcie, made.spdk, made.qemu):
        product()
    return made


if __name__ == "__main__":
    hub(Path(sys.argv[1]))
