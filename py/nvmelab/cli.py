# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m nvmelab``: arguments, help, exit codes; :mod:`nvmelab.commands` does the work."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from nvmelab import __version__
from nvmelab.commands import arguments_lab as lab
from nvmelab.commands import arguments_results as results
from nvmelab.commands import console
from nvmelab.commands.arguments import Parser
from nvmelab.errors import NvmelabError

if TYPE_CHECKING:
    from collections.abc import Sequence


INTERRUPTED = 130

_EPILOG = """\
examples:
  nvmelab run -i inventories/lab                     measure every host of the lab
  nvmelab run -i inventories/lab --stack qemu-nvme   only one stack; fails where it cannot run
  nvmelab doctor -i inventories/lab                  what to change on the hosts before measuring
  nvmelab collect -i inventories/lab                 fetch what is finished on the hosts
  nvmelab show latest                                the newest run, at a glance
  nvmelab report latest --out report.html            the same with curves, in one file
  nvmelab parse fio-output/*.json --format csv       read any fio JSON output

exit codes:
  0    fine
  1    a host, a job or a file failed; what was good was kept and printed
  2    wrong usage or bad input; nothing was touched
  4    doctor: every host was audited, and there is something to change
  130  interrupted by Ctrl-C or SIGTERM; what had been started was stopped

RUN is a run's id, a prefix that only one run has, or `latest`.
The store is the folder of --store, else $NVMELAB_STORE, else ./results.
`nvmelab COMMAND --help` tells the rest."""


def build_parser() -> Parser:
    """Return the parser of every command."""
    parser = Parser(
        prog="nvmelab",
        description="Measure how guests reach NVMe storage; collect, judge and show the results.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"nvmelab {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (
        lab.add_run,
        lab.add_collect,
        lab.add_doctor,
        results.add_list,
        results.add_show,
        results.add_report,
        results.add_export,
        results.add_parse,
        lab.add_plan,
        lab.add_schema,
        lab.add_store,
    ):
        add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one message on standard error."""
    console.setup()
    args = build_parser().parse_args(argv)
    try:
        # Some 0.1 s, which --help and a usage error need not wait for.
        from nvmelab.commands import handlers as commands  # noqa: PLC0415

        code = commands.COMMANDS[args.command](args)
        sys.stdout.flush()
    except BrokenPipeError:
        console.close_quietly()
        return 0
    except KeyboardInterrupt:
        console.err("nvmelab: interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last place where it can be told in one line)
        if args.debug:
            traceback.print_exc()
        return _tell(error)
    return code


def _tell(error: Exception) -> int:
    """Say what went wrong; return the exit code."""
    if isinstance(error, NvmelabError):
        console.err(f"nvmelab: {error}")
        return error.exit_code
    if isinstance(error, OSError):
        # A full disk, a closed descriptor: the machine's trouble, told as the machine tells it.
        console.err(f"nvmelab: {error}")
        return 1
    hint = "this is a bug of nvmelab; --debug before the command shows the traceback"
    console.err(f"nvmelab: {type(error).__name__}: {error}; {hint}")
    return 1
