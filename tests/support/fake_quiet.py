# SPDX-License-Identifier: GPL-3.0-or-later
"""What a quiet host is made of, put into a FakeHost: interrupts, sysctls, swap, services.

Tools are shell scripts below the root of the fake; they keep its files as the real ones keep the
kernel's, and write down how they were called.
"""

from __future__ import annotations

from pathlib import Path

from fake_sysfs import FakeHost

IRQ_DEFAULT = "proc/irq/default_smp_affinity"
THP = "sys/kernel/mm/transparent_hugepage"
WORKQUEUES = "sys/devices/virtual/workqueue"
NO_SWAP = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"
TWO_SWAPS = f"""{NO_SWAP}
/dev/zram0                              partition\t4194300\t\t1024\t\t100
/dev/dm-1                               partition\t8388604\t\t2048\t\t-2"""

SYSTEMCTL = """#!/bin/sh
# units/NAME holds the LoadState and the ActiveState of a unit; one without a file is not there.
root=$(cd "$(dirname "$0")/../.." && pwd)
echo "systemctl $*" >> "$root/calls"
case $1 in
  show)
    shift 2
    for unit; do
      load=not-found; active=inactive
      [ ! -e "$root/units/$unit" ] || read -r load active < "$root/units/$unit"
      printf 'LoadState=%s\\nActiveState=%s\\n\\n' "$load" "$active"
    done ;;
  start) echo "loaded active" > "$root/units/$2" ;;
  stop) echo "loaded inactive" > "$root/units/$2" ;;
esac
"""
SWAPOFF = """#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
echo "swapoff $*" >> "$root/calls"
grep -v "^$1 " "$root/proc/swaps" > "$root/swaps.new"
cat "$root/swaps.new" > "$root/proc/swaps"
rm "$root/swaps.new"
"""
# As kernel/swapfile.c: without a priority each area gets one less than the lowest.
SWAPON = """#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
echo "swapon $*" >> "$root/calls"
priority=$(awk 'NR > 1 && $5 < low { low = $5 } END { print (low < -1 ? low : -1) - 1 }' \
  "$root/proc/swaps")
while [ $# -gt 1 ]; do
  [ "$1" != --priority ] || priority=$2
  shift
done
known=$(grep "^$1 " "$root/swaps.known") || known="$1 partition 1024 0 0"
echo "$known" | sed "s/[-0-9]*$/$priority/" >> "$root/proc/swaps"
"""


def put_tool(host: FakeHost, name: str, text: str) -> None:
    """Install a program below the root."""
    path = host.root / "usr/sbin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def put_unit(host: FakeHost, name: str, state: str) -> None:
    """Have a systemd with this unit; ``state`` is e.g. ``loaded active``."""
    (host.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    put_tool(host, "systemctl", SYSTEMCTL)
    host.put(f"units/{name}", state)


def put_irq(host: FakeHost, number: int, cpus: str, *, fixed: bool = False) -> str:
    """Have an interrupt; return the place of its CPUs."""
    place = f"proc/irq/{number}/smp_affinity_list"
    host.put(place, cpus)
    host.put(f"proc/irq/{number}/effective_affinity_list", cpus.split("-", maxsplit=1)[0])
    (host.root / place).chmod(0o444 if fixed else 0o644)
    return place


def put_swaps(host: FakeHost, text: str = TWO_SWAPS, available_mib: int = 4096) -> None:
    """Have swap areas, and the tools for them."""
    host.put("proc/swaps", text)
    host.put("swaps.known", text)
    host.put("proc/meminfo", f"MemTotal: 8388608 kB\nMemAvailable: {available_mib * 1024} kB")
    put_tool(host, "swapon", SWAPON)
    put_tool(host, "swapoff", SWAPOFF)


def quiet(host: FakeHost) -> FakeHost:
    """Have everything that the group quiet_host can set, as a distribution leaves it."""
    host.put(IRQ_DEFAULT, "f")
    for number, cpus in ((24, "0-3"), (25, "2"), (130, "1-3")):
        put_irq(host, number, cpus)
    put_irq(host, 40, "3", fixed=True)
    for name, value in {
        "numa_balancing": "1",
        "randomize_va_space": "2",
        "nmi_watchdog": "1",
        "timer_migration": "1",
        "sched_autogroup_enabled": "1",
    }.items():
        host.put(f"proc/sys/kernel/{name}", value)
    host.put(f"{THP}/enabled", "always [madvise] never")
    host.put(f"{THP}/defrag", "always defer defer+madvise [madvise] never")
    host.put(f"{THP}/hugepages-2048kB/enabled", "always [inherit] madvise never")
    host.put(f"{THP}/hugepages-64kB/enabled", "always inherit madvise [never]")
    host.put("sys/kernel/mm/ksm/run", "1")
    host.put(f"{WORKQUEUES}/cpumask", "f")
    host.put(f"{WORKQUEUES}/writeback/cpumask", "f")
    host.put("sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI")
    host.put("sys/devices/system/cpu/isolated", "")
    put_swaps(host)
    put_unit(host, "irqbalance.service", "loaded active")
    return host


def calls(root: Path) -> list[str]:
    """Return how the tools were called that change something."""
    path = root / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if not line.startswith("systemctl show")]
