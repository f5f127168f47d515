# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories shaped like those of the headline stack, each built in a moment.

They take the commands that the roles give, behave as the real ones where a role counts on it (a
fio without xNVMe is built all the same), and their programs are shell scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from git_sources import Origin, origin

FIO_CONFIGURE = """#!/bin/sh
set -eu
prefix=/usr/local
for word; do case "$word" in
  --prefix=*) prefix=${word#--prefix=};;
  --disable-native) ;;
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
\tmkdir -p build/bin build/examples build/fio
\tfor name in nvmf_tgt spdk_tgt vhost spdk_nvme_perf spdk_nvme_identify; do \\
\t  install app.sh build/bin/$$name; done
\tinstall app.sh build/examples/bdevperf
\ttouch build/fio/spdk_nvme build/fio/spdk_bdev
"""
SPDK = {
    "configure": SPDK_CONFIGURE,
    "Makefile": SPDK_MAKEFILE,
    "app.sh": "#!/bin/sh\necho SPDK v25.05\n",
    "scripts/rpc.py": "#!/usr/bin/env python3\n",
    "python/spdk/__init__.py": "",
}
TOOL = "#!/bin/sh\necho 'usage: --bind setup'\n"
PARTS = {"dpdk": "dpdk", "isa-l": "isa-l", "isa-l-crypto": "isa-l_crypto", "libvfio-user": "vfu"}


@dataclass(frozen=True)
class Hub:
    """A folder of repositories; one mirror entry leads there."""

    folder: Path

    def repository(self, name: str, files: Mapping[str, str], tag: str) -> Origin:
        """A new repository with one tagged commit."""
        made = origin(self.folder / name)
        made.commit(files, tag=tag)
        return made

    def spdk(self) -> None:
        """SPDK with the submodules that are wanted, and one that is not to be had."""
        made = origin(self.folder / "spdk/spdk")
        for path, name in PARTS.items():
            part = self.repository(f"parts/{name}", {"part": path}, "v1")
            made.submodule(path, f"../../parts/{name}", part.git("rev-parse", "HEAD"))
        made.submodule("ocf", "../../parts/nosuch", "a" * 40)
        made.commit(SPDK, tag="v25.05")


def hub(folder: Path) -> Hub:
    """Repositories at the places and with the tags that the roles ask for."""
    made = Hub(folder)
    fio = {"configure": FIO_CONFIGURE, "Makefile": FIO_MAKEFILE, "fio.in": FIO}
    made.repository("axboe/fio", fio, "fio-3.40")
    xnvme = {
        "meson.build": XNVME_MESON,
        "meson_options.txt": XNVME_OPTIONS,
        "xnvme": "#!/bin/sh\necho upcie\n",
        "xnvme.pc.in": "@TEXT@",
    }
    made.repository("xnvme/xnvme", xnvme, "v0.8.0")
    tools = {"scripts/devbind.py": TOOL, "scripts/hugepages.py": TOOL}
    made.repository("safl/upcie", {"meson.build": UPCIE_MESON, "upcie.h": "", **tools}, "v0.3.2")
    made.spdk()
    return made
