# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments: read as the kernel reads them, checked, and compared as a list; pure.

An *argument* here is what the kernel makes of a word: its quotes are gone, so ``dyndbg="a +p"``
and ``"dyndbg=a +p"`` are both ``dyndbg=a +p``. Names are equal when they differ in dashes and
underscores only.

Source: Linux, lib/cmdline.c next_arg(), kernel/params.c parse_args() and parameq(),
lib/bitmap-str.c bitmap_parselist().
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORD = re.compile(r'(?:[^\s"]|"[^"]*(?:"|\Z))+', re.ASCII)
_WANTED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*(=[\x20-\x7e]*)?")
_CPUS = re.compile(r"(\d+|N)(?:-(\d+|N)(?::(\d+)/(\d+))?)?")
# No argument, but what Ansible makes of isolcpus=2-5,8 where a list is wanted.
_CUT_OFF = re.compile(r"[0-9N][0-9N:/-]*")
# What boot loaders put in front by themselves.
_LOADERS_OWN = ("BOOT_IMAGE", "initrd")
# A page count belongs to the size before it, so these are compared as one sequence.
_HUGEPAGES = ("default_hugepagesz", "hugepagesz", "hugepages")
# Each of these counts, not the last one only.
_REPEATABLE = ("console", "dyndbg", "earlycon", "hugepages", "hugepagesz", "pci")
_REPEATABLE_ENDS = (".blacklist", ".dyndbg", ".mask", ".setenv", ".wants", "_blacklist")
_CPU_LISTS = ("isolcpus", "nohz_full", "rcu_nocbs", "irqaffinity", "kthread_cpus")
_ISOLCPUS_FLAGS = ("nohz", "domain", "managed_irq")


def tokenise(line: str) -> list[str]:
    """Return the arguments of a command line; what follows ``--`` is init's, not the kernel's."""
    arguments = []
    for word in _WORD.findall(line):
        if word == "--":
            break
        arguments.append(_unquoted(word))
    return arguments


def _unquoted(word: str) -> str:
    quoted = word.startswith('"')
    body = word[1:] if quoted else word
    equals = body.find("=", 1)
    if equals > 0 and body[equals + 1 : equals + 2] == '"':
        value = body[equals + 2 :]
        return body[: equals + 1] + value.removesuffix('"')
    return body.removesuffix('"') if quoted else body


def text(argument: str) -> str:
    """Return the argument as it is written on a command line, quoted where it holds a blank."""
    if not re.search(r"\s", argument):
        return argument
    name, _, value = argument.partition("=")
    return f'{name}="{value}"'


def name_of(argument: str) -> str:
    """Return the name, with underscores, for the kernel does not tell them from dashes."""
    return argument.partition("=")[0].replace("-", "_")


def same(argument: str) -> str:
    """Return what is equal for two arguments that the kernel takes for the same."""
    return name_of(argument) + argument[len(name_of(argument)) :]


def _group(argument: str) -> str:
    name = name_of(argument)
    return "hugepages" if name in _HUGEPAGES else name


def count(argument: str, line: Iterable[str]) -> int:
    """Return how often the argument stands in the line."""
    return [same(other) for other in line].count(same(argument))


def missing(wanted: Sequence[str], line: Sequence[str]) -> list[str]:
    """Return the wanted arguments that are not in force in this line, in their order.

    The last of a name wins, so those of one name (hugepages: with their sizes) must be the last
    of that name, in this order. Where all are there in another order, all of the name are missing.
    """
    faulty = set()
    for group in {_group(argument) for argument in wanted}:
        ours = [same(argument) for argument in wanted if _group(argument) == group]
        theirs = [same(argument) for argument in line if _group(argument) == group]
        if theirs[-len(ours) :] != ours:
            absent = [argument for argument in ours if argument not in theirs]
            faulty.update(absent or ours)
    return [argument for argument in wanted if same(argument) in faulty]


def overridden(wanted: Sequence[str], line: Sequence[str]) -> list[str]:
    """Return the arguments of the line that bear a wanted name and are not the wanted ones.

    Duplicates of a wanted argument are among them, so that they are seen.
    """
    left = [same(argument) for argument in wanted]
    groups = {_group(argument) for argument in wanted}
    surplus = []
    for argument in reversed(line):
        if same(argument) in left:
            left.remove(same(argument))
        elif _group(argument) in groups:
            surplus.append(argument)
    return surplus[::-1]


def check_wanted(words: Sequence[str], possible_cpus: str) -> list[str]:
    """Return the arguments of these words, one each, in their order; exact repetitions once.

    Args:
        words: as a user gives them; a value with blanks is quoted, ``name="a b"``.
        possible_cpus: text of ``/sys/devices/system/cpu/possible``.

    Raises:
        BadInputError: something that the kernel or a boot loader would read in another way, two
            values of one argument, or CPUs that this host cannot have.
    """
    arguments: list[str] = []
    for word in words:
        argument = _checked(word)
        if count(argument, arguments) and not _is_repeatable(argument):
            continue
        arguments.append(argument)
    _refuse_conflicts(arguments)
    for argument in arguments:
        _refuse_absent_cpus(argument, possible_cpus)
    return arguments


def _checked(word: str) -> str:
    where = f"kernel argument {word!r}"
    if not word.strip():
        raise BadInputError(f"{where}: is empty; wanted text such as nosmt or isolcpus=2-7")
    found = _WORD.findall(word)
    if found != [word] and word.isascii() and word.isprintable():
        raise BadInputError(
            f"{where}: has a blank outside of quotes; give one list item for each argument, or "
            'quote the value: name="a b"'
        )
    if _CUT_OFF.fullmatch(word):
        raise BadInputError(
            f"{where}: is no name, and looks like the rest of a value that was cut at a comma; "
            'give a list of arguments, ["isolcpus=2-5,8"], not one text'
        )
    argument = _unquoted(word)
    if set(argument) & set("\"'\\`") or word.count('"') % 2 or not _WANTED.fullmatch(argument):
        raise BadInputError(
            f'{where}: unknown syntax; wanted name, name=value or name="a b" in printable ASCII, '
            "without backslash and with no other quotes"
        )
    if name_of(argument) in _LOADERS_OWN:
        raise BadInputError(f"{where}: is what the boot loader sets by itself; leave it out")
    return argument


def _is_repeatable(argument: str) -> bool:
    name = name_of(argument)
    return name in _REPEATABLE or name.endswith(_REPEATABLE_ENDS)


def _refuse_conflicts(arguments: Sequence[str]) -> None:
    size = "of the default size"
    first: dict[str, str] = {}
    for argument in arguments:
        name = name_of(argument)
        size = argument if name == "hugepagesz" else size
        if _is_repeatable(argument) and name != "hugepages":
            continue
        key = f"hugepages {size}" if name == "hugepages" else name
        if key in first:
            raise BadInputError(
                f"kernel arguments {first[key]!r} and {argument!r} contradict each other; the "
                "kernel would take one of them: give one"
            )
        first[key] = argument


def _refuse_absent_cpus(argument: str, possible_cpus: str) -> None:
    name, _, value = argument.partition("=")
    if name_of(name) not in _CPU_LISTS:
        return
    possible = _cpus(possible_cpus.strip(), last=0)
    parts = value.split(",")
    while name == "isolcpus" and parts[0] in _ISOLCPUS_FLAGS:
        parts.pop(0)
    try:
        wanted = possible if parts == ["all"] else _cpus(",".join(parts), last=max(possible))
    except ValueError as error:
        raise BadInputError(
            f"kernel argument {argument!r}: {error} is no CPU, no range and no all; wanted a list "
            "such as 2-5,8"
        ) from error
    if not wanted <= possible:
        absent = ",".join(str(cpu) for cpu in sorted(wanted - possible))
        raise BadInputError(
            f"kernel argument {argument!r}: this host has the CPUs {possible_cpus.strip()} "
            f"(/sys/devices/system/cpu/possible), and not {absent}; name CPUs that it has"
        )
    if name == "isolcpus" and wanted == possible:
        raise BadInputError(
            f"kernel argument {argument!r}: isolates every CPU of this host "
            f"({possible_cpus.strip()}); leave at least one for the system"
        )


def _cpus(listed: str, *, last: int) -> set[int]:
    """Return the CPUs of a kernel list; ``N`` is the last, ``0-7:1/2`` takes 1 of each 2."""
    cpus: set[int] = set()
    for part in listed.split(","):
        match = _CPUS.fullmatch(part)
        if not match:
            raise ValueError(repr(part))
        low, high = ((last if end == "N" else int(end)) for end in (match[1], match[2] or match[1]))
        used, step = int(match[3] or 1), int(match[4] or 1)
        if low > high or not 0 < used <= step:
            raise ValueError(repr(part))
        if high - low > 1 << 16:  # more than any kernel has; do not build the set
            raise ValueError(repr(part))
        cpus.update(cpu for cpu in range(low, high + 1) if (cpu - low) % step < used)
    return cpus


def shell_quoted(value: str) -> str:
    """Return the value as one word of a POSIX shell, always in single quotes."""
    return "'" + value.replace("'", "'\\''") + "'"


def grub_quoted(argument: str) -> str:
    """Return the argument as one word of GRUB's own language.

    GRUB takes the quotes away and sets its own where there is a blank, and would read ``$``, ``;``
    and the like as its own. Source: GRUB, loader cmdline grub_create_loader_cmdline().
    """
    plain = re.fullmatch(r"[A-Za-z0-9_.,:=+/@%-]+", argument)
    return argument if plain else shell_quoted(argument)


def render_drop_in(variable: str, default: str, words: Iterable[str], header: str) -> str:
    """Return a shell file that appends these words to a variable.

    Args:
        variable: e.g. ``GRUB_CMDLINE_LINUX_DEFAULT``; what it holds already stays in front.
        default: what it starts from where it is empty.
        words: in the order wanted, each already quoted for who reads the variable.
        header: comment lines and whatever must be run before.
    """
    start = f"${{{variable}:-{default}}}" if default else f"${variable}"
    return f'{header}{variable}="{start} "{shell_quoted(" ".join(words))}\n'
