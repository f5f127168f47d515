#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_image
short_description: Make the disk image that guests of a lab host boot from
description:
  - Builds a small Debian system from the Debian archive with mmdebstrap, or prepares a published
    cloud image when O(image_url) is given, and puts it below C(images) in the lab directory.
  - An image is known by a digest of everything that decides what is in it, so an equal wish
    finds the image that is there. It appears whole or not at all.
  - The lab's public key logs in as root; there is no password. M(nvmelab.bench.lab_keys) makes the
    keys and must have run. fio is inside.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  name:
    description: First part of the image's folder. By default C(debian-) and the suite, or C(cloud).
    type: str
  suite:
    description: Code name of the Debian suite to build.
    type: str
    default: bookworm
  packages:
    description:
      - Packages beside those that no guest can do without, such as fio, openssh-server and python3.
    type: list
    elements: str
    default: [lsof, nvme-cli, pciutils, procps]
  kernel_package:
    description:
      - Package of the kernel. One with NVMe and ext4 built in boots without an initrd, which is
        2 s faster under TCG; for others an initrd is made.
    type: str
    default: linux-image-cloud-amd64
  size_mib:
    description: Size of the disk in MiB; the file is sparse.
    type: int
    default: 2048
  archive_url:
    description:
      - Where the Debian archive is. By default where the host's own apt finds it; its proxies,
        keyrings and log-ins are used in any case.
    type: str
  archive_keyring:
    description: Keyring that signs the archive at O(archive_url). By default Debian's own.
    type: path
  image_url:
    description:
      - Cloud image to use in place of a build (https, http or file; qcow2 or raw, for BIOS).
        It is booted once with a network, so that cloud-init can put in keys and packages.
    type: str
  image_sha256:
    description: SHA-256 of what O(image_url) gives; required with it.
    type: str
  accelerator:
    description: QEMU's accelerator for the one boot of a cloud image.
    type: str
    choices: [tcg, kvm]
    default: tcg
  timeout_s:
    description: How long a cloud image may take to be prepared, in seconds.
    type: int
    default: 900
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    support: full
    description: Tells whether an image would be made or chosen.
  diff_mode:
    support: full
    description: Shows the image that guests start from, before and after.
"""

EXAMPLES = r"""
- name: Make the keys of the lab
  nvmelab.bench.lab_keys:

- name: Make the guest image
  nvmelab.bench.guest_image:
    packages: [lsof, nvme-cli, pciutils, procps, blktrace]

- name: Use a published cloud image
  nvmelab.bench.guest_image:
    image_url: https://images.example.org/debian-12-genericcloud-amd64.qcow2
    image_sha256: 5b0f0d8ee9b2b0d9b4a5ec8dd7d1e0d9a5e8a5b9f2fc5a5b0e6c9d4d7a1f3e2c
"""

RETURN = r"""
image:
  description:
    - The content of image.json, without its long parts C(inputs) and C(packages). Null in check
      mode when there is no such image yet.
  returned: success
  type: dict
  contains:
    directory:
      description: Folder of the image.
      type: str
    disk:
      description: The disk, raw.
      type: str
    boot:
      description: V(direct) with kernel and kernel_cmdline, or V(firmware).
      type: str
    kernel:
      description: The kernel for QEMU's -kernel; null with V(firmware).
      type: str
    kernel_cmdline:
      description: What to give to -append.
      type: str
    kernel_release:
      description: What uname -r says in the guest.
      type: str
    fio_version:
      description: Version of the fio inside.
      type: str
    fio_engines:
      description: The I/O engines of the fio inside.
      type: list
      elements: str
    pci_drivers:
      description:
        - Which of uio_pci_generic and vfio-pci its kernel has. Absent from a cloud image's.
      type: list
      elements: str
built:
  description: Whether an image was made by this call.
  returned: success
  type: bool
"""

from pathlib import Path
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image.cloud_image import CloudImage
from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_image import DebianImage
from ansible_collections.nvmelab.bench.plugins.module_utils.image.guest_image import (
    ImageSource,
    Outcome,
    ensure,
    summary,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.store import current_image
from ansible_collections.nvmelab.bench.plugins.module_utils.module_diff import diff
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT

ARGUMENTS = {
    **LAB_ROOT,
    "name": {"type": "str"},
    "suite": {"type": "str", "default": "bookworm"},
    "packages": {
        "type": "list",
        "elements": "str",
        "default": ["lsof", "nvme-cli", "pciutils", "procps"],
    },
    "kernel_package": {"type": "str", "default": "linux-image-cloud-amd64"},
    "size_mib": {"type": "int", "default": 2048},
    "archive_url": {"type": "str"},
    "archive_keyring": {"type": "path"},
    "image_url": {"type": "str"},
    "image_sha256": {"type": "str"},
    "accelerator": {"type": "str", "choices": ["tcg", "kvm"], "default": "tcg"},
    "timeout_s": {"type": "int", "default": 900},
}


def source_of(params: dict[str, Any]) -> ImageSource:
    """What the image is made from: the cloud image if one is named, else the Debian archive."""
    packages = tuple(params["packages"])
    if params["image_url"]:
        return CloudImage(
            url=params["image_url"],
            sha256=params["image_sha256"],
            packages=packages,
            size_mib=params["size_mib"],
            accelerator=params["accelerator"],
            timeout_s=params["timeout_s"],
        )
    return DebianImage(
        suite=params["suite"],
        packages=packages,
        kernel_package=params["kernel_package"],
        size_mib=params["size_mib"],
        archive_url=params["archive_url"],
        archive_keyring=params["archive_keyring"],
    )


def _named(image: Optional[dict[str, Any]]) -> list[str]:
    """Return the line of a diff for an image; none without one."""
    return [f"{image['name']} {image['digest']}"] if image else []


def _after(outcome: Outcome, name: str) -> list[str]:
    """Return the same for the image that is, or would be, current."""
    if outcome.image:
        return _named(outcome.image)
    # Without the lab's keys, which go into the image, its digest is not known yet.
    return [outcome.directory.name if outcome.directory else f"{name}, with keys yet to be made"]


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_together=[("image_url", "image_sha256")],
        supports_check_mode=True,
    )
    params = module.params
    name = params["name"] or ("cloud" if params["image_url"] else f"debian-{params['suite']}")
    root = Path(params["root"])
    before = _named(current_image(root))
    try:
        outcome = ensure(root, name, source_of(params), check_mode=module.check_mode)
    except NvmelabError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=outcome.changed,
        built=outcome.built,
        image=summary(outcome.image),
        diff=diff("guest image", before, _after(outcome, name)),
    )


if __name__ == "__main__":
    main()
