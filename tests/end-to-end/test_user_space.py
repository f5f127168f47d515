# SPDX-License-Identifier: GPL-3.0-or-later
"""uPCIe and NVMe pass-through in a real guest, by a fio that was built with xNVMe; SPDK's client.

Such a fio is in no archive: set NVMELAB_TEST_GUEST_PREFIXES to the folders that fio and xNVMe were
installed to, joined by ``:`` (docs/builds.md tells how the roles build them). If one of them is an
SPDK that was built for guests, its client is tried too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from bench_lab import Lab

EXPERIMENT = "tests/end-to-end/experiments/user-space.yml"
GIVEN = "NVMELAB_TEST_GUEST_PREFIXES"
PREFIXES = [Path(word) for word in os.environ.get(GIVEN, "").split(":") if word]
SPDK_CLIENT = "build/bin/spdk_nvme_perf"
SPDK = [path for path in PREFIXES if (path / SPDK_CLIENT).is_file()]

pytestmark = pytest.mark.skipif(
    not PREFIXES, reason=f"{GIVEN} names no builds of fio and xNVMe: uPCIe is not tried"
)


@pytest.fixture(scope="module")
def records(lab: Lab, tiny_run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The points' records by stack, and the manifest under the name ``manifest``."""
    (fio,) = (path for path in PREFIXES if (path / "bin/fio").is_file())
    others = [path for path in PREFIXES if path != fio and path not in SPDK]
    before = set(lab.runs())
    words = ["-e", f"nvmelab_experiment={EXPERIMENT}", "-e", "nvmelab_report=/dev/null"]
    words += ["-e", f"fio_guest_prefix={fio}"]
    words += [word for one in others for word in ("-e", f"xnvme_prefix={one}")]
    words += [word for one in SPDK for word in ("-e", f"spdk_guest_prefix={one}")]
    done = lab.run(lab.playbook("full-bench", *words))
    (directory,) = set(lab.runs()) - before
    assert done.returncode != 0, "one stack is to fail"
    found = {"manifest": lab.manifest(directory)}
    for path in (directory / "points").glob("????.json"):
        record = json.loads(path.read_text("utf-8"))
        found[record["stack"]] = record
    return found


@pytest.mark.parametrize(
    ("stack", "node"),
    [
        ("kernel", "/dev/nvme"),
        ("polled", "/dev/nvme"),
        ("polled-in-calls", "/dev/nvme"),
        ("by-xnvme", "/dev/nvme"),
        ("passed-through", "/dev/ng"),
        ("passed-through-by-xnvme", "/dev/ng"),
        ("upcie", "0000\\:00\\:1"),
    ],
)
def test_each_way_to_the_device_is_measured(
    records: dict[str, dict[str, Any]], stack: str, node: str
) -> None:
    """The point is good, by the node that its engine wants, with the fio of the builds."""
    record = records[stack]
    assert (record["state"], record["reason"]) == ("ok", None)
    assert record["argv"][0].startswith("/")
    (filename,) = (word for word in record["argv"] if word.startswith("--filename="))
    assert filename.startswith(f"--filename={node}")


def test_a_failure_of_xnvme_is_a_failed_point_with_its_cause(
    records: dict[str, dict[str, Any]],
) -> None:
    """Its JSON says error 0; the point fails all the same, and the cause is xnvme's."""
    record = records["upcie-bad"]
    assert record["state"] == "failed"
    assert record["reason"].endswith("bs is no multiple of the device's block size")
    assert records["manifest"]["state"] == "partial"
    assert records["manifest"]["points_done"] == 7 + len(SPDK)


@pytest.mark.skipif(not SPDK, reason=f"{GIVEN} names no SPDK: its client is not tried")
def test_spdks_client_drives_the_device_in_the_guest(records: dict[str, dict[str, Any]]) -> None:
    """From the lab host's path, at the device's PCI address; the guest had all that it needs."""
    record = records["spdk-client"]
    assert (record["state"], record["reason"]) == ("ok", None)
    assert str(SPDK[0] / SPDK_CLIENT) in record["argv"]
    assert record["argv"][-1].startswith("trtype:PCIe traddr:0000:00:1")


def test_without_a_build_its_client_is_skipped(records: dict[str, dict[str, Any]]) -> None:
    """With the reason; no other stack is."""
    skips = records["manifest"]["skips"]
    wanted = [] if SPDK else [("spdk-client", "no spdk_nvme_perf for the guest")]
    assert [(skip["stack"], skip["reason"].partition(";")[0]) for skip in skips] == wanted


def test_the_record_names_the_builds(records: dict[str, dict[str, Any]]) -> None:
    """Which fio the guests had, and what it can."""
    payload = records["manifest"]["capabilities"]["guest_payload"]
    assert "xnvme" in payload["fio"]["engines"]
    assert payload["fio"]["path"] == records["kernel"]["argv"][0]
    assert set(payload["prefixes"]) == set(map(str, PREFIXES))
    assert records["manifest"].get("remarks", []) == [], "the devices were not given back"


def test_nothing_is_left_behind(lab: Lab, records: dict[str, dict[str, Any]]) -> None:
    """No process."""
    assert records
    assert lab.processes() == []
