# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes, in the form in which Ansible shows it with ``--diff``; pure."""

from __future__ import annotations

from typing import Iterable


def diff(what: str, before: Iterable[str], after: Iterable[str]) -> list[dict[str, str]]:
    """Return one entry for ``what``, from these lines to those; none where they are equal."""
    texts = ["".join(f"{line}\n" for line in lines) for lines in (before, after)]
    if texts[0] == texts[1]:
        return []
    headers = {"before_header": what, "after_header": what}
    return [{**headers, "before": texts[0], "after": texts[1]}]
