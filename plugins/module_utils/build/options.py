# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a configure script that come and go between the versions of a source.

One recipe serves several versions: what the script at hand does not name in its ``--help`` is
left out, and the log says so. What must not be left out belongs into the command itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import BuildError
from ansible_collections.nvmelab.bench.plugins.module_utils.build.steps import anchored, answer

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.steps import Site


def known_options(site: Site, program: str, options: Sequence[str]) -> list[str]:
    """Those of the options that the source's configure program names in its ``--help``.

    Asks nobody when there are no options.

    Raises:
        BuildError: the program does not answer.
    """
    if not options:
        return []
    argv = [anchored(site.filled(program), site.source), "--help"]
    status, text = answer(site, argv, folder=str(site.source))
    if status:
        raise BuildError(
            f"{site.label}: {program} --help ended with status {status}; leave configure_if_known"
            f" empty for a program that does not tell its options: {text.strip()[-200:]}"
        )
    kept = [option for option in options if names(text, site.filled(option))]
    with site.log.open("a", encoding="utf-8") as log:
        for option in options:
            if option not in kept:
                log.write(f"# left out {option}: {program} --help names no such option\n")
    return kept


def names(help_text: str, option: str) -> bool:
    """Whether a help text names an option, whatever value the option has."""
    word = re.escape(option.partition("=")[0])
    return bool(re.search(rf"(?<![\w-]){word}(?![\w-])", help_text))
