# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says of its arguments.

The log is put together: records as Linux 6.1 wrote them when it booted in QEMU, cut down and
numbered anew, and others added by hand (the last two, and words in the list of unknown ones).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_log import (
    complaints,
    kernel_messages,
    read_kernel_log,
)

LOG = """\
5,0,0,-;Linux version 6.1.0-56-cloud-amd64
4,10,0,-;Malformed early option 'loglevel'
4,11,46272,-;HugeTLB: Invalid hugepages parameter nonsense
4,12,46517,-;isolcpus: Skipped unknown flag frob
3,13,48310,-;Booting kernel: `x' invalid for parameter `processor.max_cstate'
3,14,48383,-;Booting kernel: `zz' invalid for parameter `nvme.poll_queues'
 SUBSYSTEM=none
5,15,48675,-;Unknown kernel command line parameters "nokaslr splash isolcpu=1 foo=a b", will be passed to user space.
12,16,50000,-;isolcpus: a program wrote this
3,17,60000,-;nvme_core: `q' invalid for parameter `io_timeout'
"""  # noqa: E501  (as the kernel writes it)


@pytest.mark.parametrize(
    ("argument", "word"),
    [
        ("isolcpu=1", "does not know it"),
        ("foo=a b", "does not know it"),
        ("loglevel=nonsense", "Malformed early option"),
        ("hugepages=nonsense", "Invalid hugepages parameter"),
        ("isolcpus=frob,1", "Skipped unknown flag frob"),
        ("processor.max_cstate=x", "`x' invalid for parameter"),
        ("nvme-core.io_timeout=q", "`q' invalid for parameter"),
    ],
)
def test_a_complaint_names_its_argument_once(argument: str, word: str) -> None:
    """Each way in which the kernel refuses an argument is told, and of that argument only."""
    (said,) = complaints(kernel_messages(LOG), ["nosmt", argument, "idle=poll"])
    assert said.startswith(f"{argument}: ")
    assert word in said


@pytest.mark.parametrize("argument", ["isolcpu=11", "splas", "nokaslr", "max_cstate=1", "quiet"])
def test_others_are_not_blamed(argument: str) -> None:
    """Neither parts of other arguments, nor what x86 reads earlier, nor those not spoken of."""
    assert complaints(kernel_messages(LOG), [argument]) == []


def test_only_the_kernel_is_heard() -> None:
    """Neither what a program wrote into the log nor a record's properties are messages."""
    texts = kernel_messages(LOG)
    assert len(texts) == 8
    assert "isolcpus: a program wrote this" not in texts


def test_reading_takes_all_and_a_missing_log_is_empty(tmp_path: Path) -> None:
    """A log longer than one read is whole."""
    (tmp_path / "kmsg").write_text(LOG * 100)
    assert read_kernel_log(tmp_path / "kmsg") == LOG * 100
    assert read_kernel_log(tmp_path / "none") == ""
