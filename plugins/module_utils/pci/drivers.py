# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drivers that an NVMe device can have: the kernel's own, and those for programs."""

from __future__ import annotations

KERNELS_OWN = "nvme"
USER_SPACE_DRIVERS = ("uio_pci_generic", "vfio-pci")
DRIVERS = (KERNELS_OWN, *USER_SPACE_DRIVERS)
