# SPDX-License-Identifier: GPL-3.0-or-later
"""What SPDK's nvmf_tgt and vhost answer to JSON-RPC: state, documented answers, coarse errors.

A parameter that v25.05 does not know is refused, as it refuses it. The line of the log that
tells the real cause comes with each error, for the real programs write it there only.

Source: SPDK v25.05 doc/jsonrpc.md; texts and codes as seen with nvmf_tgt v25.05.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INVALID_PARAMETERS, INTERNAL, NO_METHOD = -32602, -32603, -32601
DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"
MOST_MALLOC_BYTES = 1 << 33

Params = dict[str, Any]


class Refusal(Exception):  # noqa: N818 (an answer, not a defect)
    """An error answer, and what the program writes to its log."""

    def __init__(self, code: int, message: str, log: str) -> None:
        super().__init__(message)
        self.code, self.message, self.log = code, message, log


def _invalid(log: str) -> Refusal:
    return Refusal(INVALID_PARAMETERS, "Invalid parameters", log)


@dataclass
class Subsystem:
    """One NVMe subsystem."""

    nqn: str
    described: Params
    namespaces: dict[int, str] = field(default_factory=dict)  # bdev by namespace id
    listeners: list[Params] = field(default_factory=list)


PARAMETERS = {
    "framework_wait_init": (),
    "rpc_get_methods": ("current", "include_aliases"),
    "spdk_get_version": (),
    "bdev_get_bdevs": ("name", "timeout"),
    "bdev_null_create": ("name", "num_blocks", "block_size", "uuid", "md_size", "dif_type"),
    "bdev_null_delete": ("name",),
    "bdev_malloc_create": ("name", "num_blocks", "block_size", "uuid", "optimal_io_boundary"),
    "bdev_malloc_delete": ("name",),
    "bdev_nvme_attach_controller": ("name", "trtype", "traddr"),
    "bdev_nvme_detach_controller": ("name",),
    "bdev_nvme_get_controllers": ("name",),
}
# Taken by nvmf_create_transport, but told by no method.
VFIOUSER_PARAMETERS = (
    "disable_mappable_bar0", "disable_adaptive_irq", "disable_shadow_doorbells", "disable_compare",
)  # fmt: skip
NVMF_PARAMETERS = {
    "nvmf_get_transports": ("trtype", "tgt_name"),
    "nvmf_create_transport": (
        "trtype", "max_queue_depth", "max_io_qpairs_per_ctrlr", "max_io_size", "io_unit_size",
        "max_aq_depth", *VFIOUSER_PARAMETERS,
    ),
    "nvmf_get_subsystems": ("nqn", "tgt_name"),
    "nvmf_create_subsystem": (
        "nqn", "allow_any_host", "serial_number", "model_number", "max_namespaces",
    ),
    "nvmf_delete_subsystem": ("nqn",),
    "nvmf_subsystem_add_ns": ("nqn", "namespace"),
    "nvmf_subsystem_remove_ns": ("nqn", "nsid"),
    "nvmf_subsystem_add_listener": ("nqn", "listen_address"),
    "nvmf_subsystem_remove_listener": ("nqn", "listen_address"),
}  # fmt: skip
VHOST_PARAMETERS = {
    "vhost_get_controllers": ("name",),
    "vhost_create_blk_controller": ("ctrlr", "dev_name", "cpumask", "readonly"),
    "vhost_delete_controller": ("ctrlr",),
}


@dataclass
class Spdk:
    """One application; ``listen`` and ``unlisten`` make and remove what clients connect to."""

    listen: Callable[[Path, Params], None]  # the socket, and the bdev behind it
    unlisten: Callable[[Path], None]
    vhost_folder: Path | None = None  # of the program vhost
    refused: str = ""  # a method that is refused for no reason
    version: str = "SPDK v25.05 git sha1 665a10525b"
    transports: dict[str, Params] = field(default_factory=dict)
    bdevs: dict[str, Params] = field(default_factory=dict)
    subsystems: dict[str, Subsystem] = field(default_factory=dict)
    vhosts: dict[str, Params] = field(default_factory=dict)

    def parameters(self) -> dict[str, tuple[str, ...]]:
        """The methods of this program, each with the parameters that it knows."""
        return PARAMETERS | (VHOST_PARAMETERS if self.vhost_folder else NVMF_PARAMETERS)

    def call(self, method: str, params: Params) -> Any:
        """Return a method's result.

        Raises:
            Refusal: the error that the real program answers with.
        """
        known = self.parameters().get(method)
        if known is None:
            raise Refusal(NO_METHOD, "Method not found", "")
        if method == self.refused:
            raise _invalid("vfio_user.c: something is wrong")
        if set(params) - set(known):
            raise _invalid(f"rpc_{method}: *ERROR*: spdk_json_decode_object failed")
        return getattr(self, f"_{method}")(params)

    def _framework_wait_init(self, _: Params) -> bool:
        return True

    def _rpc_get_methods(self, _: Params) -> list[str]:
        return list(self.parameters())

    def _spdk_get_version(self, _: Params) -> Params:
        return {"version": self.version, "fields": {"major": 25, "minor": 5, "patch": 0}}

    def _claimant(self, name: str) -> bool:
        return any(name in s.namespaces.values() for s in self.subsystems.values()) or any(
            vhost["backend_specific"]["block"]["bdev"] == name for vhost in self.vhosts.values()
        )

    def _bdev_get_bdevs(self, _: Params) -> list[Params]:
        return [{**bdev, "claimed": self._claimant(name)} for name, bdev in self.bdevs.items()]

    def _add_bdev(self, params: Params, product: str, **specific: Any) -> str:
        name: str = params["name"]
        if name in self.bdevs:
            raise Refusal(-17, "File exists", f"Bdev name {name} already exists")
        self.bdevs[name] = {
            "name": name,
            "aliases": [],
            "product_name": product,
            "block_size": params["block_size"],
            "num_blocks": params["num_blocks"],
            "zoned": False,
            "driver_specific": specific,
        }
        return name

    def _bdev_null_create(self, params: Params) -> str:
        return self._add_bdev(params, "Null disk")

    def _bdev_malloc_create(self, params: Params) -> str:
        if params["num_blocks"] * params["block_size"] > MOST_MALLOC_BYTES:
            log = "bdev_malloc.c: 813:create_malloc_disk: *ERROR*: malloc_buf spdk_zmalloc() failed"
            raise Refusal(-12, "Cannot allocate memory", log)
        return self._add_bdev(params, "Malloc disk")

    def _delete_bdev(self, params: Params) -> bool:
        if self.bdevs.pop(params["name"], None) is None:
            raise Refusal(-19, "No such device", "")
        for subsystem in self.subsystems.values():  # SPDK takes the namespace away with it
            for nsid, name in list(subsystem.namespaces.items()):
                if name == params["name"]:
                    del subsystem.namespaces[nsid]
        return True

    _bdev_null_delete = _bdev_malloc_delete = _delete_bdev

    def _bdev_nvme_attach_controller(self, params: Params) -> list[str]:
        address = {"trtype": params["trtype"], "traddr": params["traddr"]}
        size = {"num_blocks": 2048, "block_size": 512, "name": f"{params['name']}n1"}
        return [self._add_bdev(size, "NVMe disk", nvme=[{"trid": address}])]

    def _bdev_nvme_detach_controller(self, params: Params) -> bool:
        return self._delete_bdev({"name": f"{params['name']}n1"})

    def _bdev_nvme_get_controllers(self, _: Params) -> list[Params]:
        found = {n: b for n, b in self.bdevs.items() if "nvme" in b["driver_specific"]}
        return [
            {"name": name[:-2], "ctrlrs": [{"trid": bdev["driver_specific"]["nvme"][0]["trid"]}]}
            for name, bdev in found.items()
        ]

    def _nvmf_get_transports(self, _: Params) -> list[Params]:
        return list(self.transports.values())

    def _nvmf_create_transport(self, params: Params) -> bool:
        kind = params["trtype"]
        if kind in self.transports:
            raise Refusal(INTERNAL, f"Transport type '{kind}' already exists", "")
        defaults = {"max_queue_depth": 256, "max_io_qpairs_per_ctrlr": 127, "max_io_size": 131072}
        told = {key: value for key, value in params.items() if key not in VFIOUSER_PARAMETERS}
        self.transports[kind] = {**defaults, **told}
        return True

    def _nvmf_get_subsystems(self, _: Params) -> list[Params]:
        discovery = {"nqn": DISCOVERY, "subtype": "Discovery", "listen_addresses": []}
        return [discovery, *(_described(one) for one in self.subsystems.values())]

    def _nvmf_create_subsystem(self, params: Params) -> bool:
        nqn = params["nqn"]
        reason = f"Subsystem NQN '{nqn}' already exists" if nqn in self.subsystems else ""
        if not re.fullmatch(r"nqn\.\d{4}-\d{2}\.[^:]+:.+", nqn):
            reason = f"Subsystem NQN '{nqn}' is invalid"
        if reason:
            raise Refusal(INTERNAL, f"Unable to create subsystem {nqn}", reason)
        defaults = {"serial_number": "0" * 20, "model_number": "SPDK bdev Controller"}
        described = {"allow_any_host": False, "max_namespaces": 32, **defaults, **params}
        self.subsystems[nqn] = Subsystem(nqn, described)
        return True

    def _of(self, params: Params) -> Subsystem:
        found = self.subsystems.get(params["nqn"])
        if found is None:
            raise _invalid(f"Unable to find subsystem with NQN {params['nqn']}")
        return found

    def _nvmf_delete_subsystem(self, params: Params) -> bool:
        for listener in list(self._of(params).listeners):
            self._nvmf_subsystem_remove_listener({**params, "listen_address": listener})
        del self.subsystems[params["nqn"]]
        return True

    def _nvmf_subsystem_add_ns(self, params: Params) -> int:
        subsystem, namespace = self._of(params), params["namespace"]
        bdev = namespace["bdev_name"]
        if bdev not in self.bdevs:
            raise _invalid(f"bdev {bdev} cannot be opened, error=-19")
        if self._claimant(bdev):
            raise _invalid(f"bdev {bdev} already claimed: type exclusive_write by module NVMe-oF")
        nsid: int = namespace.get("nsid") or max(subsystem.namespaces, default=0) + 1
        if nsid in subsystem.namespaces:
            raise _invalid(f"Requested NSID {nsid} already in use")
        subsystem.namespaces[nsid] = bdev
        return nsid

    def _nvmf_subsystem_remove_ns(self, params: Params) -> bool:
        if self._of(params).namespaces.pop(params["nsid"], None) is None:
            raise _invalid("no such namespace")
        return True

    def _nvmf_subsystem_add_listener(self, params: Params) -> bool:
        subsystem, address = self._of(params), params["listen_address"]
        folder = Path(address["traddr"])
        if address["trtype"] not in self.transports:
            raise _invalid(f"Unable to find {address['trtype']} transport")
        if address in subsystem.listeners:
            raise _invalid("nvmf_rpc_listen_paused: *ERROR*: Listener already exists")
        if not folder.is_dir():
            raise _invalid(f"{folder}: failed to open device memory at {folder}/bar0: No such file")
        if (folder / "cntrl").exists():
            raise _invalid(f"{folder}: error creating libmuser context: Address already in use")
        bdev = next((self.bdevs[name] for name in subsystem.namespaces.values()), {})
        self.listen(folder / "cntrl", bdev)
        subsystem.listeners.append(address)
        return True

    def _nvmf_subsystem_remove_listener(self, params: Params) -> bool:
        subsystem, address = self._of(params), params["listen_address"]
        if address not in subsystem.listeners:
            raise _invalid("Unable to stop listening on address")
        subsystem.listeners.remove(address)
        self.unlisten(Path(address["traddr"], "cntrl"))
        return True

    def _vhost_get_controllers(self, _: Params) -> list[Params]:
        return list(self.vhosts.values())

    def _vhost_create_blk_controller(self, params: Params) -> bool:
        name, bdev = params["ctrlr"], params["dev_name"]
        if name in self.vhosts:
            raise Refusal(INVALID_PARAMETERS, "File exists", "")
        if bdev not in self.bdevs:
            raise Refusal(INVALID_PARAMETERS, "No such device", "")
        assert self.vhost_folder is not None
        path = self.vhost_folder / name
        path.unlink(missing_ok=True)  # unlike vfio-user it takes a stale one over
        self.listen(path, self.bdevs[bdev])
        specific = {"block": {"bdev": bdev, "readonly": params.get("readonly", False)}}
        described = {"ctrlr": name, "cpumask": params.get("cpumask", "0x1"), "socket": str(path)}
        self.vhosts[name] = {**described, "sessions": [], "backend_specific": specific}
        return True

    def _vhost_delete_controller(self, params: Params) -> bool:
        found = self.vhosts.pop(params["ctrlr"], None)
        if found is None:
            raise Refusal(INVALID_PARAMETERS, "No such device", "")
        self.unlisten(Path(found["socket"]))
        return True


def _described(subsystem: Subsystem) -> Params:
    namespaces = [
        {"nsid": nsid, "bdev_name": bdev, "name": bdev}
        for nsid, bdev in subsystem.namespaces.items()
    ]
    described = {"nqn": subsystem.nqn, "subtype": "NVMe", "listen_addresses": subsystem.listeners}
    return {**described, "hosts": [], **subsystem.described, "namespaces": namespaces}
