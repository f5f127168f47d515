# SPDX-License-Identifier: GPL-3.0-or-later
"""Experiment files are read strictly, and every fault is told with its line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from plan_examples import GUEST_NULL, HEAD, HOST_RAM, NVME, STORAGE_DAEMON, VFIO_USER, WORKLOADS
from plan_examples import experiment as example

from nvmelab.commands.plan import run_schema, schema_text
from nvmelab.experiment.document import (
    ExperimentError,
    digest,
    find_experiment,
    json_schema,
    load_experiment,
    parse_experiment,
    select_stacks,
)

if TYPE_CHECKING:
    from pathlib import Path

GOOD = HEAD + WORKLOADS + "stacks:\n" + NVME


def faults_of(text: str) -> list[str]:
    """The lines of the error that reading ``text`` ends with, without the file's name."""
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(text, source="x.yml")
    lines = str(caught.value).splitlines()
    assert all(line.startswith("x.yml:") for line in lines)
    return [line.removeprefix("x.yml:") for line in lines]


def only_fault(text: str) -> str:
    """The one fault of ``text``."""
    (fault,) = faults_of(text)
    return fault


def test_good_file_gets_its_defaults() -> None:
    """What a file leaves out is filled in, and stands in the document that is recorded."""
    document = example(NVME).document()
    assert document["layout"] == "shared-guest"
    assert document["guest"] == {
        "vcpus": 2,
        "memory_mib": 1024,
        "hugepages": False,
        "cpus": None,
        "iothread_cpus": None,
        "poll_queues": 0,
    }
    assert document["stacks"]["qemu-nvme"]["runs_on"] == "guest"
    assert document["workloads"] == [
        {"name": "randread-4k", "rw": "randread", "bs": "4k", "iodepth": [1, 16]}
    ]
    json.dumps(document)


def test_document_is_an_experiment_again() -> None:
    """The recorded document, written as YAML, reads as the same experiment."""
    first = example(NVME, STORAGE_DAEMON, VFIO_USER, HOST_RAM, GUEST_NULL)
    again = parse_experiment(yaml.safe_dump(first.document()), source="again.yml")
    assert digest(again) == digest(first)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("repetitions: 2", "repetitons: 2", "4: repetitons: unknown key: found 'repetitons'"),
        ("repetitions: 2", "repetitions: two", "found 'two'; wanted a whole number"),
        ("repetitions: 2", "repetitions: 0", "4: repetitions: found 0; input should be greater"),
        ("name: example", "name: Example", "2: name: found 'Example'; wanted lower-case"),
        ("model: nvme", "model: nvem", "did you mean 'nvme'?"),
        ("{model: nvme}", "{model: nvme, properties: {ioevntfd: on}}", "mean 'ioeventfd'?"),
        ("{model: nvme}", "{model: nvme, iothreads: 1}", "no released QEMU has an IOThread for"),
        ("{model: nvme}", "{model: nvme, properties: {drive: x}}", "set by nvmelab"),
        ("server: qemu", "server: ~", "found None; allowed: none, qemu"),
        ("size_mib: 64", "size_mib: -1", "10: stacks.qemu-nvme.backend.size_mib: found -1"),
        (", size_mib: 64", "", "size_mib is missing: kind null-co needs a size"),
        ("kind: null-co", "kind: bdev_null", "found 'bdev_null'; allowed: null-co, ram, raw-file"),
        ("transport: emulated", "transport: vfio-user", "found 'vfio-user'; allowed: emulated"),
        (
            "driver: nvme",
            "driver: virtio_blk",
            "allowed: nvme, uio_pci_generic, vfio-pci (with model: nvme)",
        ),
        ("driver: nvme", "driver: nvme\n    runs_on: host", "with runs_on: host; allowed: none"),
        ("driver: nvme", "driver: nvme\n    server_cpus: 1", "is no process of its own"),
        ("driver: nvme", "driver: nvme\n    server_hugepages: false", "takes no hugepages"),
        ("driver: nvme", "driver: nvme\n    server_interrupt_mode: true", "never polls as SPDK"),
        (
            "driver: nvme",
            'driver: nvme\n    engine: {ioengine: "null"}',
            "never reaches the device",
        ),
        ("iodepth: [1, 16]", "iodepht: 4", "unknown fio option 'iodepht'; did you mean 'iodepth'?"),
        ("iodepth: [1, 16]", "iodepth: []", "empty list: it would leave zero points"),
        ("iodepth: [1, 16]", 'iodepth: [1, "1"]', "found '1' a second time in the list"),
        ("iodepth: [1, 16]", "iodepth: [[1]]", "iodepth[0]: found [1]; wanted a number or a word"),
        ("bs: 4k", "blocksize: 4k", "fio's second name of 'bs'; write 'bs'"),
        ("bs: 4k", "filename: /dev/sda", "set by nvmelab itself"),
        ("rw: randread", "rw: randreed", "did you mean 'randread'?"),
        ("ioengine: libaio", "ioengine: libaoi", "no engine of fio; did you mean 'libaio'?"),
        ("ioengine: libaio", "ioengine: null", 'write "null" in quotes'),
        ("iodepth: [1, 16]", "iodepth: [0]", "wanted a whole number of at least 1"),
        ("iodepth: [1, 16]", "iodepth: 1k", "wanted a whole number of at least 1"),
        ("bs: 4k", "bs: 4q", "wanted a size such as 512, 4k or 1m"),
        ("bs: 4k", "filename_format: /dev/sda", "set by nvmelab itself"),
        ("runtime: 1", "runtime: fast", "wanted a duration such as 1, 90s"),
        ("runtime: 1", "runtime: 0", "fio would never end"),
        ("runtime: 1, ", "", "no runtime here or under fio"),
        ("- {name: randread-4k", "- {nam: randread-4k", "key 'name' is missing"),
        ("  qemu-nvme:", "  Qemu_nvme:", "stacks.Qemu_nvme: found 'Qemu_nvme'; wanted lower-case"),
        ("schema: 1", "schema: 2", "1: schema: found 2, newer than this nvmelab reads (1)"),
        ("direct: 1", "direct: 1, direct: 0", "key given twice, first in line 5"),
        ("fio: {", "compare: {baseline: nvme}\nfio: {", "did you mean 'qemu-nvme'?"),
        ("fio: {", "guest: {vcpus: 4, cpus: 0-1}\nfio: {", "fewer CPUs than vcpus: 4"),
        ("fio: {", "guest: {cpus: 3-1}\nfio: {", 'wanted a list of CPUs such as "2-5,8"'),
        ("fio: {", "fio: [", "not readable as YAML"),
    ],
)
def test_fault_is_named_with_what_was_wanted(old: str, new: str, wanted: str) -> None:
    """One slip in a good file is refused, and the message says what would be right."""
    assert GOOD.count(old) == 1
    assert any(wanted in fault for fault in faults_of(GOOD.replace(old, new)))


def test_fault_names_line_key_found_allowed_and_nearest() -> None:
    """A message holds all that is needed to mend the file without looking anything up."""
    fault = only_fault(GOOD.replace("server: qemu\n", "server: quemu\n"))
    assert fault == (
        "11: stacks.qemu-nvme.server: found 'quemu'; allowed: none, qemu, qemu-storage-daemon, "
        "spdk-nvmf-tgt, spdk-vhost; did you mean 'qemu'?"
    )


def test_all_faults_are_listed_together_in_the_order_of_the_file() -> None:
    """Faults of several parts and kinds come in one error, none hidden by another."""
    text = (
        GOOD.replace("name: example", "nam: example")
        .replace("direct: 1", "dirct: 1")
        .replace("rw: randread", "rw: readrand")
        .replace("model: nvme}", "model: nvme, size: 1, properties: {ioevntfd: on, dbsc: off}}")
    )
    faults = faults_of(text)
    lines = [int(fault.split(":")[0]) for fault in faults]
    assert lines == sorted(lines)
    for part in ("name: this key", "nam: unknown", "dirct", "readrand", "ioevntfd", "dbsc", "size"):
        assert any(part in fault for fault in faults), part


@pytest.mark.parametrize("text", ["", "[]", "just words", "a: *nowhere", "- &a [*a]"])
def test_what_is_no_experiment_at_all_is_refused(text: str) -> None:
    """Empty files, other documents and broken aliases end in a message, never in a traceback."""
    assert faults_of(text)


@pytest.mark.parametrize("section", ["workloads", "stacks"])
def test_experiment_without_points_is_refused(section: str) -> None:
    """Without a workload or without a stack there is nothing to measure."""
    empty = {"workloads": "workloads: []\nstacks:\n" + NVME, "stacks": WORKLOADS + "stacks: {}\n"}
    assert "it would leave zero points" in only_fault(HEAD + empty[section])


@pytest.mark.parametrize(("word", "value"), [("on", "on"), ("no", "off"), ("true", "on")])
def test_yaml_booleans_become_words_of_qemu(word: str, value: str) -> None:
    """YAML reads a bare on as True; QEMU gets on."""
    stack = NVME.replace("model: nvme", f"model: nvme, properties: {{ioeventfd: {word}}}")
    assert example(stack).stacks["qemu-nvme"].device.properties == {"ioeventfd": value}


@pytest.mark.parametrize(
    ("word", "value"),
    [("yes", 1), ("false", 0), ("0x10", "0x10"), ("010", "010"), ("1:30", "1:30"), ("1.5", 1.5)],
)
def test_fio_gets_the_words_of_the_file(word: str, value: object) -> None:
    """Booleans become 1 and 0; what YAML 1.1 would read as another number stays as written."""
    head = HEAD.replace("direct: 1", f"rate: {word}")
    assert example(NVME, head=head).fio["rate"] == value


def test_properties_and_options_beyond_the_lists_pass() -> None:
    """A property of a newer QEMU and an option of an outside engine are left to the binaries."""
    stack = NVME.replace("model: nvme", "model: nvme, properties: {brand-new-thing: 3}")
    workloads = WORKLOADS.replace("bs: 4k", "xnvme_dev_nsid: 1")
    assert example(stack, workloads=workloads).stacks["qemu-nvme"].device.properties


def test_anchors_and_merges_work() -> None:
    """Files may share parts by YAML's own means; a key beside ``<<`` wins."""
    text = (
        HEAD
        + WORKLOADS
        + "stacks:\n"
        + NVME.replace("qemu-nvme:", "qemu-nvme: &nvme")
        + "  other:\n    <<: *nvme\n    device: {model: nvme, properties: {mdts: 5}}\n"
    )
    stacks = parse_experiment(text, source="x.yml").stacks
    assert stacks["other"].server == "qemu"
    assert stacks["other"].device.properties == {"mdts": 5}


def test_ceilings() -> None:
    """A path without a server is a ceiling; without a device it needs fio's null engine."""
    stacks = example(HOST_RAM, GUEST_NULL).stacks
    assert [stack.ceiling for stack in stacks.values()] == [True, True]
    with pytest.raises(ExperimentError, match="such a path is a ceiling"):
        example(HOST_RAM.replace("ceiling: true", "ceiling: false"))
    with pytest.raises(ExperimentError, match="leaves fio no device"):
        example(GUEST_NULL.replace('"null"', "libaio"))
    with pytest.raises(ExperimentError, match="leaves fio no device"):
        example(GUEST_NULL.replace(", size: 1g", ""))


def test_stacks_can_be_chosen(tmp_path: Path) -> None:
    """Named stacks remain, in the file's order; an unknown name is refused with the nearest."""
    path = tmp_path / "mine.yml"
    head = HEAD + "compare: {baseline: qemu-nvme}\n"
    path.write_text(head + WORKLOADS + "stacks:\n" + NVME + STORAGE_DAEMON + HOST_RAM)
    chosen = load_experiment(path, stacks=["host-ram-file", "vhost-user-blk"])
    assert list(chosen.stacks) == ["vhost-user-blk", "host-ram-file"]
    assert chosen.compare is None
    with pytest.raises(ExperimentError, match="did you mean 'qemu-nvme'"):
        load_experiment(path, stacks=["qemu-nmve"])
    assert digest(chosen) != digest(select_stacks(chosen, ["vhost-user-blk"]))


def test_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A missing file and bytes that are no text end in an ExperimentError naming the file."""
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.yml", "bytes.yml"):
        with pytest.raises(ExperimentError, match=name):
            load_experiment(tmp_path / name)


def test_bare_name_is_found_here_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./experiments comes before the collection's; a wrong name lists what there is."""
    monkeypatch.chdir(tmp_path)
    assert find_experiment("quick").parent.is_absolute()
    (tmp_path / "experiments").mkdir()
    mine = tmp_path / "experiments" / "quick.yml"
    mine.write_text(GOOD)
    assert find_experiment("quick").resolve() == mine
    assert find_experiment("experiments/quick.yml").resolve() == mine
    with pytest.raises(ExperimentError, match=r"did you mean 'quick'"):
        find_experiment("quikc")
    with pytest.raises(ExperimentError, match="no such file"):
        find_experiment("experiments/absent.yml")
    with pytest.raises(ExperimentError, match="is a folder, wanted an experiment file"):
        find_experiment(str(mine.parent))


def shipped(checkout: Path) -> list[Path]:
    """The experiments of the checkout."""
    return sorted((checkout / "experiments").glob("*.yml"))


def test_shipped_experiments_are_good(checkout: Path) -> None:
    """Each file loads, is named as its file, and begins with the line that editors need."""
    assert {"quick", "tiny", "qemu-nvme-steps"} <= {path.stem for path in shipped(checkout)}
    for path in shipped(checkout):
        assert load_experiment(path).name == path.stem
        first = path.read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=experiment.schema.json"


def test_example_of_the_guide_is_good(checkout: Path) -> None:
    """The experiment printed in docs/experiments.md can be used as it stands."""
    blocks = re.findall(
        r"```yaml\n(.*?)```", (checkout / "docs/experiments.md").read_text(), re.DOTALL
    )
    assert [parse_experiment(block, source="guide").name for block in blocks] == ["mine"]


def test_schema_file_is_up_to_date(checkout: Path, tmp_path: Path) -> None:
    """The file beside the experiments is what ``nvmelab schema`` writes."""
    made = tmp_path / "schema.json"
    assert run_schema(out=made) == 0
    assert made.read_text() == (checkout / "experiments/experiment.schema.json").read_text()
    assert made.read_text() == schema_text()


def test_schema_agrees_with_the_model(checkout: Path) -> None:
    """The JSON Schema takes every shipped experiment and refuses unknown keys at each level."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in shipped(checkout):
        validator.validate(yaml.safe_load(path.read_text()))
    for spoil in (
        lambda data: data.update(foo=1),
        lambda data: data["fio"].update(iodepht=1),
        lambda data: data["workloads"][0].update(iodepht=1),
        lambda data: data["stacks"]["qemu-nvme"].update(foo=1),
        lambda data: data["stacks"]["qemu-nvme"]["device"].update(model="nvem"),
        lambda data: data["stacks"].update({"Upper": data["stacks"]["qemu-nvme"]}),
    ):
        data: dict[str, Any] = yaml.safe_load(GOOD)
        validator.validate(data)
        spoil(data)
        assert not validator.is_valid(data)
