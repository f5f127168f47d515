# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The knobs of the group quiet_host, in writing order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.daemons import TuningDaemons
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.irq import IrqCpus
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.irqbalance import Irqbalance
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.kernel import (
    Aslr,
    NmiWatchdog,
    SchedAutogroup,
    TimerMigration,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.memory import (
    Ksm,
    NumaBalancing,
    Thp,
    ThpDefrag,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.recorded import (
    IsolatedCpus,
    KvmHaltPoll,
    Mitigations,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.swap import Swap
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.workqueue import (
    WorkqueueCpus,
)

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import Knob

# irqbalance before the interrupts: it must not move them after they were set, and one that is
# started again waits ten seconds before it moves anything.
QUIET_KNOBS: tuple[Knob, ...] = (
    Irqbalance(),
    IrqCpus(),
    NumaBalancing(),
    Thp(),
    ThpDefrag(),
    Ksm(),
    Aslr(),
    NmiWatchdog(),
    TimerMigration(),
    WorkqueueCpus(),
    SchedAutogroup(),
    Swap(),
    Mitigations(),
    IsolatedCpus(),
    KvmHaltPoll(),
    TuningDaemons(),
)
