#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: source_build
short_description: Build a product from a pinned source, once
description:
  - Fetches a git repository at a tag or commit with its submodules at their pins, or a tarball of
    a known checksum; configures, builds and installs it into a folder of its own, below
    C(builds/NAME/) in the lab directory. Several versions live side by side; nothing points at a
    current one, who uses a build names its RV(build.prefix).
  - The folder's name ends with a digest of the commits, the commands, the environment and the
    toolchain, and C(build.json) in it records them. With an equal digest, and if O(checks) hold,
    nothing is fetched, configured or built.
  - A build that fails or is killed leaves no stamp; the next run starts anew. Its log stays at
    C(builds/NAME/build.log), where a build that runs can be watched too.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  state:
    description: Whether the build is there, or no build of the product is.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: The product, e.g. V(fio).
    type: str
    required: true
  url:
    description:
      - What the source is, by its public URL. Where it is fetched from instead, O(mirrors) says.
        Required with O(state=present).
    type: str
  ref:
    description:
      - Tag or commit of the git repository at O(url). A branch is refused, for it moves.
      - A tag is resolved when it is first fetched; one moved upstream later is followed only with
        O(refreshed=true).
    type: str
  commit:
    description: The full hash that O(ref) must have. Recorded in any case, compared if given.
    type: str
  sha256:
    description: Says that O(url) is a tarball, and what its checksum is; excludes O(ref).
    type: str
  version:
    description:
      - First part of the folder's name. By default O(ref), or the tarball's name, without the
        product's name.
    type: str
  submodules:
    description:
      - Paths of the submodules that are wanted, at any depth. By default all. An empty list is
        none.
    type: list
    elements: str
  submodule_overrides:
    description:
      - By the path of a submodule, C(url) and/or C(ref) in place of what its parent pins; recorded
        as a stand-in. A path that is no submodule needs both, and is put in there.
    type: dict
    default: {}
  mirrors:
    description:
      - Where a URL is fetched from instead, for repositories, submodules, tarballs and archives. A
        key that ends with a slash fits all URLs that begin with it; the longest key wins. Values
        may be URLs or folders of the lab host, also bare repositories. A mirror is not part of a
        build's digest.
    type: dict
    default: {}
  offline:
    description: Whether to fetch nothing, and fail if the cache lacks something.
    type: bool
    default: false
  refreshed:
    description: Whether to ask the source again for a tag that the cache knows.
    type: bool
    default: false
  configure:
    description:
      - Command of the configure step, run in the source tree; empty for none. C({prefix}),
        C({source}), C({jobs}), C({version}) and C({commit}) are replaced in all commands, in
        O(environment), and in O(checks).
    type: list
    elements: str
    default: []
  configure_if_known:
    description:
      - Options that are added to O(configure), each only if the source's configure program names it
        in its C(--help); for options that vanish or come between versions. The log names those
        left out.
    type: list
    elements: str
    default: []
  build:
    description: Command of the build step.
    type: list
    elements: str
    default: [make, "-j{jobs}"]
  install:
    description: Command of the install step.
    type: list
    elements: str
    default: [make, install]
  environment:
    description:
      - Added to the environment of all steps, which is fixed otherwise (PATH is
        V(/usr/sbin:/usr/bin:/sbin:/bin)). It is recorded, so it is no place for secrets.
    type: dict
    default: {}
  products:
    description: Files of the built tree to copy into the prefix after the install step.
    type: list
    elements: dict
    default: []
    suboptions:
      from:
        description: Glob below the source tree; folders are copied whole.
        type: str
        required: true
      to:
        description: Folder of the prefix. The folders below the glob's fixed part are kept.
        type: str
        default: .
  tools:
    description:
      - Programs that the build needs, asked C(--version), or whole commands, e.g. C(pkg-config
        --modversion liburing). The first line of each answer is part of the digest.
    type: list
    elements: str
    default: [cc, make]
  checks:
    description:
      - Commands that prove that the product works; asked after a build, and each time before it
        is taken as given.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description: The command, e.g. V([{prefix}/bin/fio, --enghelp=xnvme]).
        type: list
        elements: str
        required: true
      contains:
        description: What its answer must hold.
        type: str
  pack_to:
    description: Folder to leave an archive of the build in, for other hosts.
    type: path
  from_archive:
    description: Take the build from an archive in place of building it.
    type: dict
    suboptions:
      url:
        description: Path on the lab host, or URL, of an archive that O(pack_to) has made.
        type: str
        required: true
      sha256:
        description: Its checksum, RV(archive.sha256) of the run that made it.
        type: str
        required: true
  jobs:
    description: How many jobs C({jobs}) allows. By default as many as there are CPUs.
    type: int
  tree_kept:
    description: Whether the built tree stays, to look at, until the product's next build.
    type: bool
    default: false
  timeout_s:
    description: How long everything may take, in seconds, also waiting for another build.
    type: int
    default: 3600
  lab_directory:
    description: The lab directory.
    type: path
    default: /var/lib/nvmelab
attributes:
  check_mode:
    support: full
    description: Tells what would be fetched and built, and why, after looking only.
  diff_mode:
    support: full
    description: Shows all that decides the build, beside the closest build that is there.
"""

EXAMPLES = r"""
- name: Build fio
  nvmelab.bench.source_build:
    name: fio
    url: https://github.com/axboe/fio
    ref: fio-3.40
    configure: [./configure, "--prefix={prefix}"]
    checks: [{argv: ["{prefix}/bin/fio", --version], contains: fio-3.40}]
  register: fio

- name: The same behind a firewall
  nvmelab.bench.source_build:
    name: fio
    url: https://github.com/axboe/fio
    ref: fio-3.40
    configure: [./configure, "--prefix={prefix}"]
    mirrors: {"https://github.com/": "https://git.lab.example/github/"}

- name: Take over what another host has built
  nvmelab.bench.source_build:
    name: fio
    url: https://github.com/axboe/fio
    ref: fio-3.40
    configure: [./configure, "--prefix={prefix}"]
    from_archive:
      url: https://files.lab.example/fio-3.40-0a1b2c3d4e5f.tar.gz
      sha256: 5b0f0d8ee9b2b0d9b4a5ec8dd7d1e0d9a5e8a5b9f2fc5a5b0e6c9d4d7a1f3e2c
"""

RETURN = r"""
build:
  description: The build's stamp. Null in check mode when there is no such build yet.
  returned: success
  type: dict
  contains:
    name:
      description: The product.
      type: str
    version:
      description: Its version, for people.
      type: str
    digest:
      description: Digest of RV(build.inputs).
      type: str
    prefix:
      description: Folder that it is installed in.
      type: str
    source:
      description: C(url), C(fetched_from), C(ref) and C(commit); or C(sha256) of a tarball.
      type: dict
    submodules:
      description: C(path), C(url), C(commit), C(pinned), and whether it is a C(stand_in).
      type: list
      elements: dict
    inputs:
      description: All that decides what the build is, the toolchain too.
      type: dict
    answers:
      description: First line of what each of O(checks) says.
      type: dict
    built_at:
      description: When, ISO 8601.
      type: str
    built_on:
      description: Host, distribution and kernel.
      type: dict
    durations_s:
      description: How long each phase took.
      type: dict
    unpacked_from:
      description: The archive that it came in; null when it was built here.
      type: dict
reasons:
  description: Why something was done, or would be; empty when nothing was.
  returned: success
  type: list
  elements: str
log:
  description: The log of the build that runs, or of the last that failed.
  returned: always
  type: str
log_tail:
  description: The last lines of the log.
  returned: failure
  type: list
  elements: str
archive:
  description: C(path) and C(sha256) of the archive in O(pack_to).
  returned: when O(pack_to) is given, and the build is there
  type: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.build.archive import (
    Archive,
    pack,
    unpack,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline
from ansible_collections.nvmelab.bench.plugins.module_utils.build.engine import (
    Outcome,
    provide,
    remove,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.git_tree import Access
from ansible_collections.nvmelab.bench.plugins.module_utils.build.plan import (
    Order,
    available_cpus,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import recipe_of
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

ITEMS = {"type": "list", "elements": "str"}
PRODUCTS = {
    "from": {"type": "str", "required": True},
    "to": {"type": "str", "default": "."},
}
CHECKS = {"argv": {**ITEMS, "required": True}, "contains": {"type": "str"}}
ARCHIVE = {
    "url": {"type": "str", "required": True},
    "sha256": {"type": "str", "required": True},
}
ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "required": True},
    "url": {"type": "str"},
    "ref": {"type": "str"},
    "commit": {"type": "str"},
    "sha256": {"type": "str"},
    "version": {"type": "str"},
    "submodules": ITEMS,
    "submodule_overrides": {"type": "dict", "default": {}},
    "mirrors": {"type": "dict", "default": {}},
    "offline": {"type": "bool", "default": False},
    "refreshed": {"type": "bool", "default": False},
    "configure": {**ITEMS, "default": []},
    "configure_if_known": {**ITEMS, "default": []},
    "build": {**ITEMS, "default": ["make", "-j{jobs}"]},
    "install": {**ITEMS, "default": ["make", "install"]},
    "environment": {"type": "dict", "default": {}},
    "products": {"type": "list", "elements": "dict", "default": [], "options": PRODUCTS},
    "tools": {**ITEMS, "default": ["cc", "make"]},
    "checks": {"type": "list", "elements": "dict", "default": [], "options": CHECKS},
    "pack_to": {"type": "path"},
    "from_archive": {"type": "dict", "options": ARCHIVE},
    "jobs": {"type": "int"},
    "tree_kept": {"type": "bool", "default": False},
    "timeout_s": {"type": "int", "default": 3600},
    "lab_directory": {"type": "path", "default": "/var/lib/nvmelab"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ["url"])],
        supports_check_mode=True,
    )
    log = str(Path(module.params["lab_directory"]) / "builds" / module.params["name"] / "build.log")
    try:
        result = carry_out(module.params, check_mode=module.check_mode)
    except (OSError, NvmelabError) as error:
        tail = getattr(error, "log_tail", [])
        module.fail_json(msg=str(error), log=getattr(error, "log", None) or log, log_tail=tail)
    for remark in result.pop("remarks"):
        module.warn(remark)
    module.exit_json(log=log, **result)


def carry_out(options: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Return the module's result."""
    order = order_of(options)
    given = options["from_archive"]
    if options["state"] == "absent":
        outcome = remove(order, check_mode=check_mode)
    elif given:
        archive = Archive(given["url"], given["sha256"])
        outcome = unpack(order, archive, check_mode=check_mode)
    else:
        outcome = provide(order, check_mode=check_mode)
    return {**described(outcome), **packed(outcome, options["pack_to"], check_mode=check_mode)}


def order_of(options: dict[str, Any]) -> Order:
    """Return what is ordered; refuse what cannot be meant."""
    if options["state"] == "absent":
        options = {**options, "url": options["url"] or "", "ref": options["ref"] or "any"}
        options.update(sha256=None)
    deadline = Deadline(options["timeout_s"])
    root = Path(options["lab_directory"])
    access = Access(
        folder=root / "cache" / "source",
        mirrors={key: str(value) for key, value in options["mirrors"].items()},
        offline=options["offline"],
        refresh=options["refreshed"],
        deadline=deadline,
    )
    jobs = options["jobs"] or available_cpus()
    return Order(recipe_of(options), access, root, deadline, jobs, options["tree_kept"])


def described(outcome: Outcome) -> dict[str, Any]:
    """Return what an outcome says."""
    return {
        "changed": outcome.changed,
        "build": outcome.record,
        "reasons": outcome.reasons,
        "remarks": outcome.remarks,
        "diff": outcome.diff,
    }


def packed(outcome: Outcome, folder: Any, *, check_mode: bool) -> dict[str, Any]:
    """Return the archive of the build, if one was asked for and the build is there."""
    if not folder or not outcome.record or check_mode:
        return {}
    path, sha256, is_new = pack(outcome.record, Path(folder))
    archive = {"path": str(path), "sha256": sha256}
    return {"archive": archive, "changed": outcome.changed or is_new}


if __name__ == "__main__":
    main()
