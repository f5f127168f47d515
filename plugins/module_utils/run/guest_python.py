# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls module_utils in a guest, which has Python but not this collection.

The sources go there over the guest's ssh, on stdin, with their arguments; JSON comes back.
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_setup

if TYPE_CHECKING:
    from types import ModuleType

    from ansible_collections.nvmelab.bench.plugins.module_utils.guest.ssh_target import SshTarget

_OURS = "ansible_collections.nvmelab.bench.plugins.module_utils"
# An import that is indented is for type checkers only.
_IMPORT = re.compile(
    rf"^from ({re.escape(_OURS)}[\w.]*) import (?:\(([^)]*)\)|([^(#\n]*))", re.MULTILINE
)


def sources_of(module: ModuleType) -> dict[str, str]:
    """Return the sources of a module and of all module_utils that it needs, each after its own."""
    found: dict[str, str] = {}
    _collect(module, found, set())
    return found


def _collect(module: ModuleType, found: dict[str, str], begun: set[str]) -> None:
    if module.__name__ in begun:
        return
    begun.add(module.__name__)
    text = inspect.getsource(module)
    for package, listed, line in _IMPORT.findall(text):
        names = re.findall(r"\w+", listed or line)
        for name in (package, *(f"{package}.{word}" for word in names)):
            needed = sys.modules.get(name)
            # A package has nothing in it, in the archive of a module not even a source.
            if needed is not None and not hasattr(needed, "__path__"):
                _collect(needed, found, begun)
    found[module.__name__] = text


# Read now: once the executor is detached, the archive that Ansible sent them in is gone.
SOURCES = list(sources_of(guest_setup).items())
# Puts each source into a module of its name, and calls main of the last.
BOOTSTRAP = (
    "import json,sys,types\n"
    "d=json.load(sys.stdin)\n"
    "for n,s in d['sources']:\n"
    " p=n.split('.')\n"
    " for i in range(1,len(p)):\n"
    "  q='.'.join(p[:i])\n"
    "  sys.modules.setdefault(q,types.ModuleType(q)).__path__=[]\n"
    " m=sys.modules[n]=types.ModuleType(n)\n"
    " exec(compile(s,n,'exec'),m.__dict__)\n"
    "json.dump(m.main(d['arguments']),sys.stdout)"
)


class GuestPythonError(NvmelabError):
    """What was sent to the guest did not come to an end there."""


def call(ssh: SshTarget, arguments: Mapping[str, Any], *, deadline_s: float) -> dict[str, Any]:
    """Return what ``guest_setup.main(arguments)`` returns in the guest.

    Raises:
        GuestPythonError: with what was said last.
    """
    sent = json.dumps({"sources": SOURCES, "arguments": arguments})
    argv = ssh.argv(shlex.join(["exec", "python3", "-I", "-S", "-c", BOOTSTRAP]))
    try:
        done = subprocess.run(
            argv, input=sent, capture_output=True, text=True, check=False, timeout=deadline_s
        )
    except subprocess.TimeoutExpired as error:
        raise GuestPythonError(f"no answer within {deadline_s:.0f} s") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise GuestPythonError(said[-1])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
