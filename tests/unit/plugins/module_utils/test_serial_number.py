# SPDX-License-Identifier: GPL-3.0-or-later
"""Serial numbers fit a controller's field and tell devices apart."""

from __future__ import annotations

from ansible_collections.nvmelab.bench.plugins.module_utils.serial_number import serial_number


def test_a_short_name_is_its_own_serial_number() -> None:
    """What a person reads in the guest is the name in the plan."""
    assert serial_number("spdk-vfio-user_g2_24") == "spdk-vfio-user_g2_24"


def test_names_that_begin_alike_stay_apart() -> None:
    """24 devices of a stack with a long name have 24 serial numbers of 20 characters."""
    names = [f"a-stack-with-a-long-name_{number}" for number in range(1, 25)]
    serials = {serial_number(name) for name in names}
    assert len(serials) == 24
    assert {len(serial) for serial in serials} == {20}
