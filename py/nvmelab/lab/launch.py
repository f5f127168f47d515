# SPDX-License-Identifier: GPL-3.0-or-later
"""Become the given command, but end with the process that started it.

Run as ``python -I -S launch.py PARENT_PID PID_FILE CWD UNSET COMMAND…``: ansible-runner offers no
hook between fork and exec, and a killed nvmelab must not leave an ansible-playbook behind.
Standard library only: it starts in some 15 ms.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Bind, say the pid, put the environment right, become the command.

    ``UNSET`` names, comma-separated, the variables that ansible-runner set against the user.
    """
    parent, pid_file, cwd, unset, *command = argv
    # Ansible passes SIGTERM on to its workers, whose process groups it would not reach otherwise.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("nvmelab ended before Ansible could start")
    Path(pid_file).write_text(str(os.getpid()), encoding="ascii")
    for name in filter(None, unset.split(",")):
        os.environ.pop(name, None)
    os.chdir(cwd)
    os.execv(command[0], command)  # noqa: S606 (no shell is the point)


if __name__ == "__main__":
    main(sys.argv[1:])
