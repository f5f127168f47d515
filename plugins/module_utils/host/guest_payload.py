# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which builds of this lab host go into its guests, and what they can do there.

They are asked here: host and guest are of one architecture, and a build that does not start on
the host it was made on starts nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError

# Of a whole SPDK only the client that guests run: the rest is a hundred megabytes.
SPDK_CLIENT = "build/bin/spdk_nvme_perf"

ProbeFio = Callable[[str], dict[str, Any]]


def find(prefixes: Sequence[str], probe_fio: ProbeFio) -> Optional[dict[str, Any]]:
    """Return the payload of these prefixes, or None where there are none.

    Args:
        prefixes: folders that builds were installed to.
        probe_fio: returns ``path, version, engines`` of a fio.

    Returns:
        ``prefixes``; ``paths`` that are sent; ``fio``, null or what ``probe_fio`` returns;
        ``programs``: paths of other clients by their names.

    Raises:
        BadInputError: a prefix is no folder, or two have a fio.
    """
    folders = [Path(prefix) for prefix in dict.fromkeys(prefixes)]
    for folder in folders:
        if not folder.is_absolute() or not folder.is_dir():
            raise BadInputError(f"guest_prefixes: {folder}: no such folder; build it first")
    fios = [str(folder / "bin/fio") for folder in folders if (folder / "bin/fio").is_file()]
    if len(fios) > 1:
        raise BadInputError(f"guest_prefixes: {' and '.join(fios)}: wanted one fio for the guests")
    if not folders:
        return None
    clients = [folder / SPDK_CLIENT for folder in folders if (folder / SPDK_CLIENT).is_file()]
    whole = [folder for folder in folders if not (folder / SPDK_CLIENT).is_file()]
    return {
        "prefixes": [str(folder) for folder in folders],
        "paths": [str(path) for path in (*whole, *clients)],
        "fio": probe_fio(fios[0]) if fios else None,
        "programs": {path.name: str(path) for path in clients},
    }
