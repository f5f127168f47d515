# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments: read, checked, compared."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_cmdline import (
    check_wanted,
    grub_quoted,
    missing,
    overridden,
    render_drop_in,
    text,
    tokenise,
)

NAMES = st.text("abc_-.9", min_size=1, max_size=6)
ARGUMENTS = st.builds("{}={}".format, NAMES, st.text("x1 ,=$;", max_size=6)) | NAMES


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("", []),
        (" quiet  splash\n", ["quiet", "splash"]),
        ('dyndbg="file a.c +p" quiet', ["dyndbg=file a.c +p", "quiet"]),
        ('"dyndbg=file a.c +p" quiet', ["dyndbg=file a.c +p", "quiet"]),
        ('a="b', ["a=b"]),
        ('a=b" c"', ['a=b" c"']),
        ("a=b=c x=", ["a=b=c", "x="]),
        ("quiet -- single", ["quiet"]),
    ],
)
def test_a_line_is_read_as_the_kernel_reads_it(line: str, arguments: list[str]) -> None:
    """Words worked out by hand from next_arg(): quotes hold blanks together and go away."""
    assert tokenise(line) == arguments


@given(st.lists(ARGUMENTS.filter(lambda a: a != "--")))
def test_what_is_written_is_read_again(arguments: list[str]) -> None:
    """``tokenise`` is the inverse of ``text``, blanks in values included."""
    assert tokenise(" ".join(map(text, arguments))) == arguments


@given(st.lists(ARGUMENTS.filter(lambda a: a != "--")))
def test_grub_reads_what_is_meant(arguments: list[str]) -> None:
    """A word for GRUB, whose quoting is the shell's, is one word, and the right one."""
    assert shlex.split(" ".join(map(grub_quoted, arguments))) == arguments


@pytest.mark.parametrize("value", ["nosmt", "a='b c'", "memmap=4G$4G", "$(touch x)", 'd="a b"'])
def test_the_shell_appends_the_words_unread(value: str) -> None:
    """Sourced by a real shell, the drop-in keeps what was there and expands nothing of ours."""
    content = render_drop_in("LINE", "", [value], "# header\n")
    script = f'LINE="quiet splash"\n{content}printf %s "$LINE"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"quiet splash {value}"


HUGE = ["hugepagesz=1G", "hugepages=8"]


@pytest.mark.parametrize(
    ("wanted", "line", "lacking", "surplus"),
    [
        (["nosmt"], ["quiet", "nosmt"], [], []),
        (["hugepages=8"], ["hugepagesz=2M"], ["hugepages=8"], ["hugepagesz=2M"]),
        (HUGE, ["hugepagesz=1G", "quiet", "hugepages=8"], [], []),
        (HUGE, ["hugepages=8", "hugepagesz=1G"], HUGE, []),
        (HUGE, ["hugepages=8"], ["hugepagesz=1G"], []),
        (HUGE, ["hugepagesz=2M", "hugepages=4", *HUGE], [], ["hugepagesz=2M", "hugepages=4"]),
        (["isolcpus=2-3"], ["isolcpus=1", "isolcpus=2-3"], [], ["isolcpus=1"]),
        (["isolcpus=2-3"], ["isolcpus=2-3", "isolcpus=1"], ["isolcpus=2-3"], ["isolcpus=1"]),
        (["isolcpus=2"], ["isolcpus=2-3"], ["isolcpus=2"], ["isolcpus=2-3"]),
        (["idle=poll"], ["idle=poll", "idle=poll"], [], ["idle=poll"]),
        (["a.b-c=1"], ["a.b_c=1"], [], []),
        (["idle=poll", "nosmt"], ["nosmt", "idle=poll"], [], []),
    ],
)
def test_comparison(
    wanted: list[str], line: list[str], lacking: list[str], surplus: list[str]
) -> None:
    """Whole arguments; the last of a name is in force; order counts within a name only."""
    assert missing(wanted, line) == lacking
    assert overridden(wanted, line) == surplus


@given(st.lists(ARGUMENTS), st.lists(ARGUMENTS, unique_by=lambda a: a.partition("=")[0]))
def test_what_stands_last_is_in_force(line: list[str], wanted: list[str]) -> None:
    """Appended to any line, arguments of ours are in force."""
    assert missing(wanted, [*line, *wanted]) == []


@pytest.mark.parametrize(
    "words",
    [
        ["nosmt", "processor.max_cstate=1", "idle=poll", "rcu_nocbs=all", "irqaffinity=0"],
        ["isolcpus=managed_irq,domain,2-3", "nohz_full=1-N", "kthread_cpus=0-3:1/2"],
        ["hugepagesz=1G", "hugepages=8", "hugepagesz=2M", "hugepages=8"],
        ["default_hugepagesz=1G", "hugepagesz=1G", "hugepages=8"],
        ["console=tty0", "console=ttyS0,115200n8", "module_blacklist=a", "module_blacklist=b"],
        ["memmap=4G$4G", "vfio-pci.ids=8086:0a54", "x="],
    ],
)
def test_real_arguments_are_taken_as_they_are(words: list[str]) -> None:
    """Nothing that engineers write is refused, reordered or lost."""
    assert check_wanted(words, "0-3\n") == words


def test_quotes_go_and_repetitions_count_once() -> None:
    """The kernel would read the same."""
    words = ['dyndbg="a +p"', "nosmt", "nosmt"]
    assert check_wanted(words, "0") == ["dyndbg=a +p", "nosmt"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([""], "is empty"),
        (["  "], "is empty"),
        (["nosmt quiet"], "blank outside of quotes"),
        (["nohz_full=1", "2"], "'2': is no name, and looks like the rest of a value"),
        (["isolcpus=domain", "1-3"], "cut at a comma; give a list of arguments"),
        (["hugepagesz=1G", "hugepages=0:4", "1:4"], "'1:4': is no name"),
        (["a=b c"], "blank outside of quotes"),
        ([" nosmt"], "blank outside of quotes"),
        (["nosmt\n"], "unknown syntax"),
        (["nosmt\0"], "unknown syntax"),
        (["a=\tb"], "unknown syntax"),
        (["=1"], "unknown syntax"),
        (["--"], "unknown syntax"),
        (["a=é"], "unknown syntax"),
        (["a=b\\c"], "unknown syntax"),
        (["a='b'"], "unknown syntax"),
        (['a="b'], "unknown syntax"),
        (['a=b"c"'], "unknown syntax"),
        (["initrd=/x"], "boot loader sets"),
        (["idle=poll", "idle=halt"], "'idle=poll' and 'idle=halt' contradict"),
        (["a-b=1", "a_b=2"], "contradict"),
        (["nosmt", "nosmt=force"], "contradict"),
        (["hugepages=8", "hugepages=9"], "contradict"),
        (["hugepagesz=1G", "hugepages=8", "hugepagesz=1G", "hugepages=9"], "contradict"),
        (["isolcpus=2-5"], "CPUs 0-3 (/sys/devices/system/cpu/possible), and not 4,5"),
        (["nohz_full=7"], "not 7"),
        (["isolcpus=0-3"], "isolates every CPU"),
        (["isolcpus=3-2"], "'3-2' is no CPU"),
        (["isolcpus"], "'' is no CPU"),
        (["rcu_nocbs=0-9999999999"], "is no CPU"),
        (["irqaffinity=a"], "'a' is no CPU"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], told: str) -> None:
    """The message names the argument, and what is wrong with it."""
    with pytest.raises(BadInputError) as refused:
        check_wanted(words, "0-3\n")
    assert told in str(refused.value)
    assert repr(words[-1]) in str(refused.value)
