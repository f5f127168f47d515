# SPDX-License-Identifier: GPL-3.0-or-later
"""Toolchains, placeholders, and what a log is made to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import (
    BuildError,
    MissingToolError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.git import last_word
from ansible_collections.nvmelab.bench.plugins.module_utils.build.options import names
from ansible_collections.nvmelab.bench.plugins.module_utils.build.steps import (
    Site,
    first_complaint,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.toolchain import toolchain

LOGS = {
    # The words of real tools, shortened.
    "cc": (
        (
            "  CC engines/xnvme.o\nengines/xnvme.c:12:10: fatal error: libxnvme.h: No such file or"
            " directory\ncompilation terminated.\nmake: *** [Makefile:545: xnvme.o] Error 1\n"
            "  CC other.o\n"
        ),
        "engines/xnvme.c:12:10: fatal error: libxnvme.h: No such file or directory",
    ),
    "ld": (
        (
            "gcc -Werror -o fio x.o\n/usr/bin/ld: x.o: in function `main':\nx.c:3: undefined"
            " reference to `xnvme_dev_open'\ncollect2: error: ld returned 1 exit status\n"
        ),
        "x.c:3: undefined reference to `xnvme_dev_open'",
    ),
    "meson": (
        (
            "Run-time dependency liburing found: NO\n\n../meson.build:70:14: ERROR: Dependency"
            ' "liburing" not found\n\nA full log can be found at x\n'
        ),
        '../meson.build:70:14: ERROR: Dependency "liburing" not found',
    ),
    "configure": (
        "checking for zlib... no\ncxlflash: not found\nERROR: ISA-L is required\n",
        "ERROR: ISA-L is required",
    ),
    "disk": (
        "cc1: out of luck\n/usr/bin/ld: final link failed: No space left on device\n",
        "/usr/bin/ld: final link failed: No space left on device",
    ),
    "silent": ("one\ntwo\n\n", "two"),
    "empty": ("", ""),
}


@pytest.mark.parametrize("name", LOGS)
def test_the_first_complaint_is_what_a_person_looks_for(tmp_path: Path, name: str) -> None:
    """Not the end of the log, and not a probe of configure that found nothing."""
    text, wanted = LOGS[name]
    log = tmp_path / "build.log"
    log.write_text(f"error: of an earlier step\n$ make\n{text}")
    assert first_complaint(log, log.read_text().index("$ make")) == wanted


def test_placeholders_are_replaced_and_other_braces_stay(tmp_path: Path) -> None:
    """A recipe may hold braces of its own, as shells and awk do."""
    values = {"prefix": "/p", "jobs": "2"}
    site = Site("greet", tmp_path, tmp_path, tmp_path, {}, values, Deadline(None))
    assert site.filled("{prefix}/x -j{jobs} ${HOME} {print} {nope}") == (
        "/p/x -j2 ${HOME} {print} {nope}"
    )


def tool(folder: Path, name: str, script: str) -> str:
    """A program on a PATH of its own."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return name


def test_tools_are_asked_as_they_understand_it(tmp_path: Path) -> None:
    """--version, else -v, else nothing; whole commands as they are; the environment's compiler."""
    names = [
        tool(tmp_path, "plain", "echo; echo plain 1.0; echo more"),
        tool(tmp_path, "old", '[ "$1" = -v ] && echo old 2.0'),
        tool(tmp_path, "mute", "exit 1"),
        tool(tmp_path, "ask", 'echo "$2 3.0"') + " --modversion 'the lib'",
    ]
    tool(tmp_path, "mycc", "echo mycc 9")
    environment = {"PATH": str(tmp_path), "CC": "mycc -m64"}
    assert toolchain(names, environment, Deadline(30)) == {
        "plain": "plain 1.0",
        "old": "old 2.0",
        "mute": "unknown",
        "ask --modversion 'the lib'": "the lib 3.0",
        "mycc": "mycc 9",
    }


def test_all_missing_tools_are_named_at_once(tmp_path: Path) -> None:
    """One run tells all that is to be installed."""
    here = tool(tmp_path, "here", "echo 1")
    with pytest.raises(MissingToolError, match=r"not found on PATH .*: gone, lost; install"):
        toolchain([here, "gone", "lost --x"], {"PATH": str(tmp_path)}, Deadline(30))


def test_a_command_that_fails_is_no_version(tmp_path: Path) -> None:
    """pkg-config of a library that is not there must not become part of a stamp."""
    name = tool(tmp_path, "pc", "echo No package liburing found; exit 1")
    with pytest.raises(BuildError, match="pc --modversion liburing ended with status 1: No pack"):
        toolchain([f"{name} --modversion liburing"], {"PATH": str(tmp_path)}, Deadline(30))


def test_a_library_that_lacks_is_like_a_tool_that_lacks(tmp_path: Path) -> None:
    """A host that nothing was installed on yet may have pkg-config: its packages come later."""
    name = tool(tmp_path, "pc", "echo No package liburing found; exit 1")
    with pytest.raises(MissingToolError, match="No package liburing found"):
        toolchain([f"{name} --modversion liburing"], {"PATH": str(tmp_path)}, Deadline(30))


HELP = """Usage: ./configure [OPTION]...
 --with-fio[=DIR]     Build the plugin
 --disable-unit-tests no unit tests
  -Dtests=BOOL
"""


@pytest.mark.parametrize(
    "option", ["--with-fio", "--with-fio=/src/fio", "--disable-unit-tests", "-Dtests=false"]
)
def test_an_option_is_known_by_its_name(option: str) -> None:
    """Whatever value it is given."""
    assert names(HELP, option)


@pytest.mark.parametrize(
    "option", ["--with-fi", "--with-fio.", "--disable-unit", "--disable-tests", "--tests"]
)
def test_a_part_of_a_name_is_no_option(option: str) -> None:
    """Each of these stands in the text, as a part of something longer, or not at all."""
    assert not names(HELP, option)


@pytest.mark.parametrize(
    ("stderr", "word"),
    [
        (
            "fatal: unable to access 'https://u:p@hub/x/': Could not resolve host: hub\n",
            "unable to access 'https://***@hub/x/': Could not resolve host: hub",
        ),
        (
            (
                "ssh: connect to host h port 22: Connection refused\nfatal: Could not read from"
                " remote repository.\n\nPlease make sure you have the correct access rights\n"
            ),
            "ssh: connect to host h port 22: Connection refused",
        ),
        (
            "fatal: remote error: upload-pack: not our ref 1\n",
            "remote error: upload-pack: not our ref 1",
        ),
        ("", "no message"),
    ],
)
def test_git_is_quoted_with_its_cause(stderr: str, word: str) -> None:
    """Not with its advice, and never with a password."""
    assert last_word(stderr) == word
