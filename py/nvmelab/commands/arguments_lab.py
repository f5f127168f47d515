# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments of the commands that deal with hosts: run, collect, doctor, plan, schema, store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nvmelab.commands.arguments import add_command, inventory_options, store_option

if TYPE_CHECKING:
    from nvmelab.commands.arguments import Subparsers


def add_run(commands: Subparsers) -> None:
    """Add ``nvmelab run``."""
    parser = add_command(
        commands,
        "run",
        "prepare the hosts, measure, collect and show (playbooks/full-bench.yml)",
        """\
examples:
  nvmelab run -i inventories/lab
  nvmelab run -i inventories/lab --experiment experiments/mine.yml --report mine.html
  nvmelab run -i inventories/lab --run-id 20261121T090000Z-quick-1a2b    resume: finished points
                                                                         are not measured again

Ctrl-C stops everything that was started, on all hosts, and keeps what was measured there:
`nvmelab collect` gets it. If this process is killed, the hosts stop by themselves.
exit codes: 0 every host measured; 1 a host failed; 2 bad input; 130 interrupted""",
    )
    inventory_options(parser)
    parser.add_argument(
        "--experiment", metavar="NAME|FILE", help="in experiments/, or a file (default: quick)"
    )
    parser.add_argument(
        "--stack",
        action="append",
        default=[],
        metavar="NAME",
        help="only this stack of the experiment, which then must be able to run; may be repeated",
    )
    parser.add_argument("--run-id", metavar="ID", help="resume this run")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the HTML report here")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what Ansible prints")
    store_option(parser)


def add_collect(commands: Subparsers) -> None:
    """Add ``nvmelab collect``."""
    parser = add_command(
        commands,
        "collect",
        "fetch the finished runs of every host into the store",
        """\
examples:
  nvmelab collect -i inventories/lab
  nvmelab collect -i inventories/lab --limit storage-a --store /srv/nvmelab

Collecting again changes nothing. A host that fails costs the others nothing.
exit codes: 0 every host answered; 1 a host was unreachable or failed; 2 bad input""",
    )
    inventory_options(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="show what Ansible prints")
    store_option(parser)


def add_doctor(commands: Subparsers) -> None:
    """Add ``nvmelab doctor``."""
    parser = add_command(
        commands,
        "doctor",
        "audit the settings of every host and say what to change, worst first",
        """\
examples:
  nvmelab doctor -i inventories/lab
  nvmelab doctor -i inventories/my-lab --limit storage-a
  nvmelab doctor -i inventories/my-lab --format json | jq '.findings[] | {hosts, setting, cost}'
  nvmelab doctor -i inventories/my-lab -e '{"nvmelab_host_state": {"cpupower": {"boost": true}}}'

Nothing is changed. What is asked is the shipped profile with the inventory's nvmelab_host_state on
top of it, whatever nvmelab_tuning says. Costs are published measurements of others; your host may
differ, and where nobody measured, doctor says "unknown".
exit codes: 0 nothing to change; 1 a host was unreachable or failed, the others are shown;
2 bad input; 4 something to change""",
    )
    inventory_options(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what Ansible prints")


def add_plan(commands: Subparsers) -> None:
    """Add ``nvmelab plan``."""
    parser = add_command(
        commands,
        "plan",
        "check an experiment and show the points it expands to",
        """\
examples:
  nvmelab plan quick
  nvmelab plan experiments/mine.yml --capabilities host.json --format json

Without --capabilities nothing is known of a host, so no stack is skipped.
exit codes: 0 the experiment is good; 2 it is not, every fault is named""",
    )
    parser.add_argument(
        "experiment",
        nargs="?",
        default="quick",
        metavar="NAME|FILE",
        help="in ./experiments or the installed collection, or a file (default: quick)",
    )
    parser.add_argument(
        "--capabilities",
        type=Path,
        metavar="FILE",
        help="what a host can run, as the module nvmelab.bench.capabilities_info says it, in JSON;"
        " `-` is standard input",
    )
    parser.add_argument(
        "--cpu-layout",
        type=Path,
        metavar="FILE",
        help="which CPU does what there, as the module nvmelab.bench.cpu_layout_info says it, in"
        " JSON (default: nothing is pinned that the experiment does not pin)",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--run-id", metavar="ID", help="default: made from time and experiment")
    parser.add_argument("--seed", type=int, metavar="N", help="of the order of the points")
    parser.add_argument("--host", metavar="NAME", help="the host's name in the inventory")
    parser.add_argument("--stack", action="append", default=[], metavar="NAME", help="only this")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")


def add_schema(commands: Subparsers) -> None:
    """Add ``nvmelab schema``."""
    parser = add_command(
        commands,
        "schema",
        "print the JSON Schema of experiment files, for editors",
        """\
example, for editors that use yaml-language-server:
  nvmelab schema > experiments/schema.json
  and as first line of an experiment:  # yaml-language-server: $schema=schema.json""",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")


def add_store(commands: Subparsers) -> None:
    """Add ``nvmelab store``."""
    parser = add_command(
        commands,
        "store",
        "put archives into the store, or say what it holds (used by the playbooks)",
        """\
examples:
  nvmelab store add archive.tar.gz…
  nvmelab store known""",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = add_command(actions, "add", "take archives of run directories; again changes nothing", "")
    add.add_argument(
        "archives",
        nargs="*",
        type=Path,
        metavar="ARCHIVE",
        help="made by the module nvmelab.bench.run_archive; none is fine",
    )
    add.add_argument(
        "--fetched", type=Path, metavar="DIR", help="also take, and remove, what is in DIR"
    )
    store_option(add)
    known = add_command(actions, "known", "print {host: {run_id: finished_at}} as JSON", "")
    store_option(known)
