# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running SPDK application has, by its get calls; and the calls that change it.

Only the parameters that are asked for are sent, and only methods that the application itself
lists are called: what a newer SPDK added, or an older one lacks, is then no matter.
Source: SPDK v25.05, doc/jsonrpc.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_objects import (
    Item,
    SpdkConfigError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import SpdkRpc

Call = tuple[str, dict[str, Any]]

_PRODUCTS = {"Malloc disk": "malloc", "Null disk": "null"}
# Taking a listener away waits until its client has left, a device has to be reset.
_SLOW_S = {
    "nvmf_subsystem_remove_listener": 20.0,
    "nvmf_delete_subsystem": 20.0,
    "bdev_nvme_attach_controller": 120.0,
    "bdev_nvme_detach_controller": 120.0,
}


def read(rpc: SpdkRpc) -> list[Item]:
    """Return what the application has. What it has no method for, it has not."""
    methods = set(rpc.call("rpc_get_methods"))
    found: list[Item] = []
    if "nvmf_get_transports" in methods:
        found += [_transport(one) for one in rpc.call("nvmf_get_transports")]
    if "bdev_get_bdevs" in methods:
        found += [_bdev(one) for one in rpc.call("bdev_get_bdevs") if _is_plain(one)]
    if "bdev_nvme_get_controllers" in methods:
        found += [_controller(one) for one in rpc.call("bdev_nvme_get_controllers")]
    if "nvmf_get_subsystems" in methods:
        for one in rpc.call("nvmf_get_subsystems"):
            found += _subsystem(one) if one.get("subtype") == "NVMe" else []
    if "vhost_get_controllers" in methods:
        found += [_vhost(one) for one in rpc.call("vhost_get_controllers")]
    return found


def bdev_names(rpc: SpdkRpc) -> list[str]:
    """Return the names of all bdevs, also of those that are no items of their own."""
    return [bdev["name"] for bdev in rpc.call("bdev_get_bdevs")]


def require_methods(rpc: SpdkRpc, calls: list[Call]) -> None:
    """Refuse before anything is changed what this application does not know at all.

    Raises:
        SpdkConfigError: names version, method, and which program has it.
    """
    known = set(rpc.call("rpc_get_methods"))
    for method, _ in calls:
        if method not in known:
            version = rpc.call("spdk_get_version").get("version", "this SPDK")
            program = "vhost" if method.startswith("vhost") else "nvmf_tgt or spdk_tgt"
            raise SpdkConfigError(
                f"{rpc.path}: {version} has no method {method} here; is it {program} that listens?"
            )


def add_call(item: Item) -> Call:
    """Return the call that makes an item."""
    return _ADD[item.kind](item)


def remove_call(item: Item) -> Call:
    """Return the call that takes an item away."""
    return _REMOVE[item.kind](item)


def apply(rpc: SpdkRpc, call: Call) -> Any:
    """Make one call; those that may wait for a client or a device have deadlines of their own."""
    method, params = call
    slow_s = _SLOW_S.get(method)
    return rpc.call(method, params, **({"deadline_s": slow_s} if slow_s else {}))


def _transport(answer: Mapping[str, Any]) -> Item:
    options = {key: value for key, value in answer.items() if key != "trtype"}
    return Item("transport", (str(answer["trtype"]).upper(),), options)


def _is_plain(answer: Mapping[str, Any]) -> bool:
    return answer.get("product_name") in _PRODUCTS


def _bdev(answer: Mapping[str, Any]) -> Item:
    attributes = {"blocks": answer["num_blocks"], "block_bytes": answer["block_size"]}
    kind = _PRODUCTS[answer["product_name"]]
    return Item("bdev", (answer["name"],), {"kind": kind, **attributes})


def _controller(answer: Mapping[str, Any]) -> Item:
    # Several, where it is reached by several paths; nothing here makes such a one.
    ids = [one.get("trid", {}) for one in answer.get("ctrlrs", [])]
    words = {key: ", ".join(str(one.get(key, "")) for one in ids) for key in ("trtype", "traddr")}
    is_real = words["trtype"].upper() == "PCIE"
    return Item("controller", (answer["name"],), {**words, "trtype": "PCIe"} if is_real else words)


def _subsystem(answer: Mapping[str, Any]) -> list[Item]:
    nqn = answer["nqn"]
    known = ("serial_number", "model_number", "max_namespaces", "allow_any_host")
    items = [Item("subsystem", (nqn,), {name: answer.get(name) for name in known})]
    for one in answer.get("namespaces", []):
        bdev = one.get("bdev_name") or one.get("name")
        items.append(Item("namespace", (nqn, bdev), {"nsid": one["nsid"]}))
    return items + [
        Item("listener", (nqn, one["traddr"].rstrip("/")))
        for one in answer.get("listen_addresses", [])
        if str(one.get("trtype", "")).upper() == "VFIOUSER"
    ]


def _vhost(answer: Mapping[str, Any]) -> Item:
    block = answer.get("backend_specific", {}).get("block", {})
    attributes = {"bdev": block.get("bdev"), "cpumask": answer.get("cpumask")}
    return Item("vhost", (answer["ctrlr"],), attributes)


def _add_bdev(item: Item) -> Call:
    sizes = {"num_blocks": item.attributes["blocks"], "block_size": item.attributes["block_bytes"]}
    return f"bdev_{item.attributes['kind']}_create", {"name": item.key[0], **sizes}


def _attach(item: Item) -> Call:
    return "bdev_nvme_attach_controller", {"name": item.key[0], **item.attributes}


def _add_namespace(item: Item) -> Call:
    namespace = {"bdev_name": item.key[1], **item.attributes}
    return "nvmf_subsystem_add_ns", {"nqn": item.key[0], "namespace": namespace}


def _listener(item: Item) -> dict[str, Any]:
    address = {"trtype": "VFIOUSER", "traddr": item.key[1], "trsvcid": "0"}
    return {"nqn": item.key[0], "listen_address": address}


def _add_vhost(item: Item) -> Call:
    more = {name: item.attributes[name] for name in ("cpumask",) if name in item.attributes}
    params = {"ctrlr": item.key[0], "dev_name": item.attributes["bdev"], **more}
    return "vhost_create_blk_controller", params


_ADD: dict[str, Callable[[Item], Call]] = {
    "transport": lambda i: ("nvmf_create_transport", {"trtype": i.key[0], **i.attributes}),
    "bdev": _add_bdev,
    "controller": _attach,
    "subsystem": lambda i: ("nvmf_create_subsystem", {"nqn": i.key[0], **i.attributes}),
    "namespace": _add_namespace,
    "listener": lambda i: ("nvmf_subsystem_add_listener", _listener(i)),
    "vhost": _add_vhost,
}
_REMOVE: dict[str, Callable[[Item], Call]] = {
    "bdev": lambda i: (f"bdev_{i.attributes['kind']}_delete", {"name": i.key[0]}),
    "controller": lambda i: ("bdev_nvme_detach_controller", {"name": i.key[0]}),
    "subsystem": lambda i: ("nvmf_delete_subsystem", {"nqn": i.key[0]}),
    "namespace": lambda i: (
        "nvmf_subsystem_remove_ns",
        {"nqn": i.key[0], "nsid": i.attributes["nsid"]},
    ),
    "listener": lambda i: ("nvmf_subsystem_remove_listener", _listener(i)),
    "vhost": lambda i: ("vhost_delete_controller", {"ctrlr": i.key[0]}),
}
