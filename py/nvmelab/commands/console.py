# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for the terminal: plain tables, and what a closed pipe or a narrow encoding does to them."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def out(text: str) -> None:
    """Write the text and a line end to standard output."""
    sys.stdout.write(text + "\n")


def out_whole(text: str) -> None:
    """Write the text as UTF-8, whatever the terminal's encoding: data, read by programs.

    A reader that goes away early ends the output, not the command: what it has to say on
    standard error, and its exit code, still count.
    """
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        close_quietly()


def err(text: str) -> None:
    """Write the text and a line end to standard error, after what was printed before."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def setup() -> None:
    """Let a character that the terminal's encoding lacks show as ``?`` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def close_quietly() -> None:
    """Stop writing to a pipe whose reader went away, also in Python's last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(
    headers: Sequence[str], lines: Sequence[Sequence[str]], *, right: Sequence[str] = ()
) -> str:
    """Return the lines under their headers, in columns two blanks apart.

    ``right`` names the headers of columns that are aligned right: numbers.
    """
    cells = [[one_line(cell) for cell in line] for line in (headers, *lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(headers))]
    numeric = {i for i, header in enumerate(headers) if header in right}
    aligned = (
        "  ".join(
            cell.rjust(width) if i in numeric else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )
    return "\n".join(aligned)


def one_line(text: str) -> str:
    """Return the text with what would break a table, or drive a terminal, made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
