# SPDX-License-Identifier: GPL-3.0-or-later
"""Time a second converge that changes nothing, over SSH, on one and on three hosts.

    sudo python benchmarks/second_converge.py [--rounds 5]

Starts nspawn lab hosts whose settings are plain files (tests/support/tuned_lab.py), so this machine
is not tuned. The roles kernel_cmdline, hugepages, cpupower and quiet_host set the shipped profile,
with a kernel argument and some pages; then the same play, with an audit at its end, is timed: wall
time of ansible-playbook, median [least - most]. Wanted: at most 6 s for one host, 10 s for three.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))

from tuned_lab import TunedLab, tool, tuned_lab  # noqa: E402  (found by the line above)

ARGUMENT = "nosmt"
WANTED_S = {1: 6.0, 3: 10.0}
PLAY = f"""
- hosts: all
  gather_facts: false
  vars_files: ["{ROOT}/playbooks/vars/host-state.yml"]
  vars:
    asked: "{{{{ nvmelab_host_state_default }}}}"
    pages: [{{page_size: 2M, node: 0, count: 4}}]
  roles:
    - {{role: nvmelab.bench.kernel_cmdline, kernel_cmdline_args: [{ARGUMENT}]}}
    - {{role: nvmelab.bench.hugepages, hugepages_pages: "{{{{ pages }}}}"}}
    - role: nvmelab.bench.cpupower
      cpupower_settings: >-
        {{{{ asked.cpupower | dict2items | rejectattr('value', 'none') | items2dict }}}}
    - role: nvmelab.bench.quiet_host
      quiet_host_settings: >-
        {{{{ asked.quiet_host | dict2items | rejectattr('value', 'none') | items2dict }}}}
  post_tasks:
    - nvmelab.bench.host_audit:
        asked: "{{{{ asked | combine({{'kernel_cmdline': ['{ARGUMENT}'], 'hugepages': pages}}) }}}}"
      register: audit
    - ansible.builtin.debug: {{msg: "audit took {{{{ audit.duration_s }}}} s"}}
"""
# As molecule/kernel_cmdline does it: a machine that GRUB has booted, with the argument in force.
GRUB = f"""
rm -f /run/systemd/container
mkdir -p /boot/grub /etc/default
echo 'BOOT_IMAGE=/vmlinuz-6.1 root=UUID=4f ro quiet {ARGUMENT}' > /fake/cmdline
mount --bind /fake/cmdline /proc/cmdline
echo 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"' > /etc/default/grub
chmod 755 /usr/sbin/update-grub
/usr/sbin/update-grub
"""


def measure(count: int, rounds: int, folder: Path) -> None:
    """Start so many hosts, converge once, time the converges after it, print a line."""
    play = folder / "play.yml"
    play.write_text(PLAY, encoding="utf-8")
    with tuned_lab(ROOT, folder / f"lab-{count}", count) as lab:
        for number in range(1, count + 1):
            grub = (ROOT / "molecule/kernel_cmdline/files/update-grub").read_text(encoding="utf-8")
            (lab.folder / f"h{number}/mnt/usr/sbin/update-grub").write_text(grub, encoding="utf-8")
            lab.shell(GRUB, f"h{number}")
        converge(lab, play)
        found = [converge(lab, play) for _ in range(rounds)]
    changed = {int(n) for _, said in found for n in re.findall(r"changed=(\d+)", said)}
    tasks = re.search(r"ok=(\d+)", found[0][1])
    audits = [float(s) for _, said in found for s in re.findall(r"audit took ([\d.]+) s", said)]
    times = [seconds for seconds, _ in found]
    print(
        f"{count} host(s): {statistics.median(times):5.2f} s [{min(times):.2f} - {max(times):.2f}] "
        f"n={rounds}, wanted {WANTED_S[count]:g} s; {tasks[1] if tasks else '?'} tasks, "
        f"changed {changed}; audit on the host at most {max(audits):.2f} s"
    )


def converge(lab: TunedLab, play: Path) -> tuple[float, str]:
    """Return the seconds that the play takes, and what Ansible printed."""
    began = time.monotonic()
    done = lab.run([tool("ansible-playbook"), "-i", str(lab.inventory), str(play)])
    if done.returncode:
        sys.exit(f"the play ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.monotonic() - began, done.stdout


def main() -> None:
    """Parse the command line, measure both labs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        for count in WANTED_S:
            measure(count, args.rounds, Path(folder))


if __name__ == "__main__":
    main()
