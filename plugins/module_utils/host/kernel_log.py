# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the running kernel said of its arguments when it booted.

An argument may stand in ``/proc/cmdline`` and do nothing: misspelt, of another kernel, or with a
value that is not understood. The kernel says so, once, in its log.

Source: Linux, Documentation/ABI/testing/dev-kmsg; init/main.c print_unknown_bootoptions(),
do_early_param(); kernel/params.c parse_args(); mm/hugetlb.c; kernel/sched/isolation.c;
kernel/rcu/tree_nocb.h.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_cmdline import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# A record is never longer: the kernel's PRINTK_MESSAGE_MAX, doubled since Linux 6.3.
_READ_BYTES = 8192
_RECORD = re.compile(r"(\d+),\d+,\d+,[^;]*;(.*)")
_FACILITIES = 8  # of a priority: above are those of programs that write to the kernel's log

_UNKNOWN = re.compile(r'Unknown kernel command line parameters "(.*)", will be passed to user spa')
_MALFORMED = re.compile(r"Malformed early option '(.*)'")
_INVALID = re.compile(r"(\S.*): `.*' (?:invalid|too large) for parameter `(.*)'")
_ISOLATION = ("isolcpus", "nohz_full")
# Which arguments a message is about that does not name one, or not always.
_OF_GROUPS = (
    (
        re.compile(r"HugeTLB: .*(Invalid|unsupported|ignoring|specified twice|Only allocated)"),
        ("default_hugepagesz", "hugepagesz", "hugepages"),
    ),
    (re.compile(r"(Housekeeping|isolcpus): "), _ISOLATION),
    (re.compile(r".*kernel parameter 'rcu_nocbs=',.*nonexistent"), ("rcu_nocbs", *_ISOLATION)),
)
# Those that x86 looks for by itself before others are read, and that the generic code then takes
# for unknown (of one that only other versions know too). Source: Linux, callers of
# cmdline_find_option() and cmdline_find_option_bool() in arch/x86: boot/compressed/{kaslr,
# pgtable_64}.c, kernel/cpu/{common,bugs,intel,tsx}.c, kernel/cpu/microcode/core.c, mm/pti.c,
# mm/mem_encrypt_identity.c.
_READ_EARLIER = (
    "clearcpuid",
    "dis_ucode_ldr",
    "mem_encrypt",
    "microcode",
    "no387",
    "no5lvl",
    "nofxsr",
    "nokaslr",
    "nopti",
    "nospec_store_bypass_disable",
    "nospectre_v2",
    "noxsave",
    "noxsaveopt",
    "noxsaves",
    "pti",
    "spec_store_bypass_disable",
    "spectre_v2",
    "spectre_v2_user",
    "split_lock_detect",
    "tsx",
)


def read_kernel_log(device: Path) -> str:
    """Return what the kernel's log still holds, oldest first, empty where it cannot be read.

    Reading never waits. On a host that has been up for long the boot's messages may be gone.
    """
    chunks: list[bytes] = []
    try:
        handle = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        # EAGAIN, the end, is an OSError; so is an older record that was overwritten meanwhile.
        with contextlib.suppress(OSError):
            while chunk := os.read(handle, _READ_BYTES):
                chunks.append(chunk)
    finally:
        os.close(handle)
    return b"".join(chunks).decode("utf-8", "replace")


def kernel_messages(log: str) -> list[str]:
    """Return the texts that the kernel itself wrote, from records as ``/dev/kmsg`` gives them."""
    matches = (_RECORD.match(line) for line in log.splitlines())
    return [match[2] for match in matches if match and int(match[1]) < _FACILITIES]


def complaints(messages: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return what the kernel said against these arguments, one text each; none: nothing.

    Args:
        messages: of this boot.
        arguments: those wanted that the kernel was booted with.
    """
    found = []
    for message in messages:
        for argument in arguments:
            why = _fault(message, argument)
            if why and f"{argument}: {why}" not in found:
                found.append(f"{argument}: {why}")
    return found


def _fault(message: str, argument: str) -> Optional[str]:
    """Return what this message says against this argument."""
    name = name_of(argument)
    unknown = _UNKNOWN.match(message)
    if unknown:
        is_listed = f" {argument} " in f" {unknown[1]} "
        why = "this kernel does not know it (its log: Unknown kernel command line parameters)"
        return why if is_listed and name not in _READ_EARLIER else None
    malformed, invalid = _MALFORMED.match(message), _INVALID.match(message)
    names = [malformed[1]] if malformed else []
    names += [invalid[2], f"{invalid[1]}.{invalid[2]}"] if invalid else []
    groups = [group for pattern, group in _OF_GROUPS if pattern.match(message)]
    names += [name for group in groups for name in group]
    return f"the kernel's log says: {message}" if name in map(name_of, names) else None
