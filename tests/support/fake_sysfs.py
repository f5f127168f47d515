# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake machine whose proc and sys are plain files in a folder, and that behaves as a kernel does.

``FakeHost(tmp_path)`` is a bare machine without any knob; ``frequency``, ``idle`` and ``smt`` put
the files there that a driver makes. ``install(monkeypatch)`` takes the place of the kernel: writes
of file knobs (file_knob.write_raw) then move other files, or are refused, as the kernel does it.
Without it the files are inert, as below a bind mount.

To emulate more: ``host.put(name, text)`` for files, ``host.refuse[pattern] = errno.EPERM``,
``host.unreadable[pattern] = errno.EBUSY``, ``host.on_write.append(function(name, text))``.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import format_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import file_knob

CPU = "sys/devices/system/cpu"
BOOT_ID = "proc/sys/kernel/random/boot_id"
OWN_GOVERNORS = "performance powersave"
CORE_GOVERNORS = "conservative ondemand userspace powersave performance schedutil"
PREFERENCES = "default performance balance_performance balance_power power"
HARDWARE_MIN, HARDWARE_BASE, HARDWARE_MAX = 800000, 3000000, 4200000
# What each driver makes: governors, the first of them in force, and which files else.
DRIVERS = {
    "intel_pstate": (OWN_GOVERNORS, "powersave", {"no_turbo", "epp", "epb"}),
    "intel_cpufreq": (CORE_GOVERNORS, "schedutil", {"no_turbo", "epb"}),
    "acpi-cpufreq": (CORE_GOVERNORS, "ondemand", {"boost", "table"}),
    "amd-pstate-epp": (OWN_GOVERNORS, "powersave", {"boost", "policy_boost", "epp"}),
    "amd-pstate": (CORE_GOVERNORS, "schedutil", {"boost", "policy_boost"}),
    "cppc_cpufreq": (CORE_GOVERNORS, "schedutil", {"boost"}),
}
IDLE_STATES = (("POLL", 0), ("C1", 2), ("C1E", 10), ("C6", 133))


@dataclass
class FakeHost:
    """One machine; ``writes`` are what was written through file_knob, in order."""

    root: Path
    cpus: int = 4
    writes: list[tuple[str, str]] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    on_write: list[Callable[[str, str], None]] = field(default_factory=list)
    saved_epp: dict[str, str] = field(default_factory=dict)
    wanted_max: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.put(BOOT_ID, "boot-1")
        self.put("proc/cpuinfo", "flags\t\t: fpu sse2")
        for name in ("online", "present", "possible"):
            self.put(f"{CPU}/{name}", format_cpu_list(range(self.cpus)))
        for cpu in range(self.cpus):
            self.put(f"{CPU}/cpu{cpu}/topology/core_id", str(cpu // 2))
        (self.root / "var/lib").mkdir(parents=True)

    def put(self, name: str, text: str) -> None:
        """Put a file below the root, with a newline as the kernel's files have it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def get(self, name: str) -> str:
        """Return a file's text without the newline."""
        return (self.root / name).read_text().strip()

    def find(self, pattern: str) -> list[str]:
        """Return the files below the root that match."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.glob(pattern))

    def policy(self, cpu: int = 0) -> str:
        """Return the folder of a CPU's frequency policy."""
        return f"{CPU}/cpufreq/policy{cpu}"

    def frequency(self, driver: str = "intel_pstate") -> FakeHost:
        """Have a cpufreq driver, with one policy a CPU."""
        governors, governor, files = DRIVERS[driver]
        for cpu in range(self.cpus):
            self._policy(cpu, {"scaling_driver": driver, "scaling_governor": governor})
            self._policy(cpu, {"scaling_available_governors": governors})
            if "epp" in files:
                self._policy(cpu, {"energy_performance_preference": "balance_performance"})
                self._policy(cpu, {"energy_performance_available_preferences": PREFERENCES})
            if "policy_boost" in files:
                self._policy(cpu, {"boost": "1"})
            if "table" in files:
                table = f"{HARDWARE_BASE} 2000000 {HARDWARE_MIN}"
                self._policy(cpu, {"scaling_available_frequencies": table})
            if "epb" in files:
                self.put(f"{CPU}/cpu{cpu}/power/energy_perf_bias", "6")
            link = self.root / CPU / f"cpu{cpu}" / "cpufreq"
            link.symlink_to(f"../cpufreq/policy{cpu}")
        if "boost" in files:
            self.put(f"{CPU}/cpufreq/boost", "1")
        if "no_turbo" in files:
            self.put(f"{CPU}/intel_pstate/no_turbo", "0")
            mode = "active" if driver == "intel_pstate" else "passive"
            self.put(f"{CPU}/intel_pstate/status", mode)
        return self

    def _policy(self, cpu: int, files: dict[str, str]) -> None:
        limits = {
            "cpuinfo_min_freq": HARDWARE_MIN,
            "cpuinfo_max_freq": HARDWARE_MAX,
            "scaling_min_freq": HARDWARE_MIN,
            "scaling_max_freq": HARDWARE_MAX,
        }
        known = {name: str(value) for name, value in limits.items()}
        for name, text in {**known, "affected_cpus": str(cpu), **files}.items():
            self.put(f"{self.policy(cpu)}/{name}", text)

    def idle(self) -> FakeHost:
        """Have idle states, all enabled, and the device that bounds their latency."""
        for cpu in range(self.cpus):
            for number, (name, latency_us) in enumerate(IDLE_STATES):
                state = f"{CPU}/cpu{cpu}/cpuidle/state{number}"
                texts = {"name": name, "latency": str(latency_us), "disable": "0"}
                for key, text in {**texts, "default_status": "enabled"}.items():
                    self.put(f"{state}/{key}", text)
        self.put(f"{CPU}/cpuidle/current_driver", "intel_idle")
        device = self.root / "dev/cpu_dma_latency"
        device.parent.mkdir(exist_ok=True)
        device.write_bytes((2_000_000_000).to_bytes(4, "little"))
        return self

    def smt(self, control: str = "on") -> FakeHost:
        """Have SMT control; odd CPUs are the siblings that go offline."""
        self.put(f"{CPU}/smt/control", control)
        self.put(f"{CPU}/smt/active", "1" if control == "on" else "0")
        return self

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
        """Take the place of the kernel for the reads and writes of file knobs."""
        monkeypatch.setattr(file_knob, "write_raw", self.written)
        monkeypatch.setattr(file_knob, "read_raw", self.read)
        return self

    def read(self, path: Path) -> str:
        """What replaces file_knob.read_raw."""
        name = str(path.relative_to(self.root))
        for pattern, number in self.unreadable.items():
            if fnmatch(name, pattern):
                raise OSError(number, os.strerror(number), str(path))
        return path.read_text()

    def written(self, path: Path, text: str) -> None:
        """What replaces file_knob.write_raw."""
        name, value = str(path.relative_to(self.root)), text.strip()
        for pattern, number in self.refuse.items():
            if fnmatch(name, pattern):
                raise OSError(number, os.strerror(number), str(path))
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        self._refuse_as_the_kernel(name, value)
        self.writes.append((name, value))
        old = self.get(name)
        self._store(name, value)
        self._move_others(name, value, old)
        for function in self.on_write:
            function(name, value)

    def _store(self, name: str, value: str) -> None:
        words = self.get(name).split()
        if any(word.startswith("[") for word in words):  # a choice: always [madvise] never
            plain = [word.strip("[]") for word in words]
            if value not in plain:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
            value = " ".join(f"[{word}]" if word == value else word for word in plain)
        self.put(name, value)

    def _refuse_as_the_kernel(self, name: str, value: str) -> None:
        folder, _, file = name.rpartition("/")
        number = 0
        if file == "scaling_governor":
            known = self.get(f"{folder}/scaling_available_governors").split()
            number = 0 if value in known else errno.EINVAL
        elif file == "energy_performance_preference":
            held = self.get(f"{folder}/scaling_governor") == "performance"
            number = errno.EBUSY if held and value != "performance" else 0
            number = number or (0 if value in PREFERENCES.split() else errno.EINVAL)
        elif file == "boost" and "/policy" in folder:
            number = 0 if self.get(f"{CPU}/cpufreq/boost") == "1" else errno.EINVAL
        elif file == "scaling_min_freq":
            most = int(self.get(f"{folder}/scaling_max_freq"))
            number = errno.EINVAL if int(value) > most else 0
        elif file == "scaling_max_freq":
            least = int(self.get(f"{folder}/scaling_min_freq"))
            number = errno.EINVAL if int(value) < least else 0
        elif name == f"{CPU}/smt/control":
            number = errno.EPERM if self.get(name) == "forceoff" else 0
        if number:
            raise OSError(number, os.strerror(number), name)

    def _move_others(self, name: str, value: str, old: str) -> None:
        folder, _, file = name.rpartition("/")
        epp = f"{folder}/energy_performance_preference"
        if file == "scaling_governor" and (self.root / epp).exists() and value != old:
            if value == "performance":
                self.saved_epp[epp] = self.get(epp)
            self.put(epp, "performance" if value == "performance" else self.saved_epp[epp])
        elif name == f"{CPU}/cpufreq/boost":
            for place in self.find(f"{CPU}/cpufreq/policy*/boost"):
                self.put(place, value)
        elif file == "no_turbo":
            for place in self.find(f"{CPU}/cpufreq/policy*/scaling_max_freq"):
                wanted = self.wanted_max.setdefault(place, int(self.get(place)))
                self.put(place, str(min(wanted, self._most_khz())))
        elif file == "scaling_max_freq":
            self.wanted_max[name] = int(value)
            self.put(name, str(min(int(value), self._most_khz())))
        elif name == f"{CPU}/smt/control":
            self._hotplug(online=value == "on")

    def _most_khz(self) -> int:
        no_turbo = self.root / CPU / "intel_pstate/no_turbo"
        has_turbo = not no_turbo.exists() or no_turbo.read_text().strip() == "0"
        return HARDWARE_MAX if has_turbo else HARDWARE_BASE

    def _hotplug(self, *, online: bool) -> None:
        """Take the siblings' folders away, or bring them back as they were."""
        store = self.root.with_name(f"{self.root.name}-offline")
        for cpu in range(1, self.cpus, 2):
            for name in (self.policy(cpu), f"{CPU}/cpu{cpu}/power", f"{CPU}/cpu{cpu}/cpuidle"):
                here, away = self.root / name, store / name.replace("/", "+")
                source, target = (away, here) if online else (here, away)
                if source.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(source, target)
        shown = [cpu for cpu in range(self.cpus) if online or cpu % 2 == 0]
        self.put(f"{CPU}/online", format_cpu_list(shown))
        self.put(f"{CPU}/smt/active", "1" if online else "0")

    def picture(self) -> dict[str, str]:
        """All files and folders below the root, to compare."""
        return {
            str(path.relative_to(self.root)): path.read_bytes().decode("latin-1")
            if path.is_file()
            else "folder"
            for path in sorted(self.root.rglob("*"))
        }
