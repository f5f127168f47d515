# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands' arguments have in common."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # argparse has no public name for it.
    Subparsers = argparse._SubParsersAction[Any]  # noqa: SLF001


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Keep the examples as they are written, and give the options room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


class Parser(argparse.ArgumentParser):
    """A parser whose sub-parsers look alike, and never take an abbreviated option."""

    def __init__(self, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", Formatter)
        super().__init__(allow_abbrev=False, **kwargs)  # type: ignore[arg-type]


def add_command(commands: Subparsers, name: str, summary: str, epilog: str) -> Parser:
    """Return a command's parser, its help made of summary and epilog."""
    parser: Parser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=epilog
    )
    return parser


def inventory_options(parser: Parser) -> None:
    """Add what chooses hosts and play variables, as ansible-playbook has it."""
    parser.add_argument(
        "-i",
        "--inventory",
        action="append",
        metavar="INVENTORY",
        help="inventory file, folder or host list, as for ansible-playbook; may be repeated"
        " (default: what ansible.cfg says)",
    )
    parser.add_argument("--limit", metavar="PATTERN", help="only these hosts of the inventory")
    parser.add_argument(
        "-e",
        "--extra-vars",
        action="append",
        default=[],
        metavar="K=V",
        help="play variable, as for ansible-playbook (k=v, JSON or @FILE); may be repeated",
    )


def store_option(parser: Parser) -> None:
    """Add ``--store``."""
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="the store (default: $NVMELAB_STORE or ./results)"
    )


def runs(parser: Parser, nargs: str | None = "+") -> None:
    """Add the positional ``RUN``; ``nargs`` is argparse's."""
    parser.add_argument(
        "run", nargs=nargs, metavar="RUN", help="id, unique prefix of one, or `latest`"
    )


def query_options(parser: Parser) -> None:
    """Add ``--query`` and ``--format``."""
    parser.add_argument("--query", metavar="JMESPATH", help="print what this picks out, as JSON")
    parser.add_argument("--format", choices=("table", "json"), default="table")
