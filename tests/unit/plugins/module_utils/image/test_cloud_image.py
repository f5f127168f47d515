# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud images: checked before use, prepared by a configuration without a password."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.image import cloud_image
from ansible_collections.nvmelab.bench.plugins.module_utils.image.cloud_image import (
    CloudImage,
    CloudImageError,
    boot_once,
    download,
    make_seed,
    network_config,
    parse_report,
    qemu_argv,
    user_data,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import (
    LabKeys,
    lab_keys,
    make,
)

CONTENT = b"not really an image\n" * 100_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REPORT = "boot…\r\nNVMELAB-IMAGE 6.1.0-9-amd64 fio-3.33 ,libaio,io_uring,null,\r\npowering off\r\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word on stderr."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The URL of a file with CONTENT on a loopback server."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "image.qcow2").write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/image.qcow2"
        server.shutdown()
        thread.join()


@pytest.fixture
def keys(tmp_path: Path) -> LabKeys:
    found = lab_keys(tmp_path / "lab")
    make(found)
    return found


def image(**words: object) -> CloudImage:
    values = {"url": "https://e.org/i", "sha256": SHA256, "packages": ("pciutils",), "size_mib": 64}
    return CloudImage(**{**values, **words})  # type: ignore[arg-type]


def test_a_served_file_arrives_whole(served: str, tmp_path: Path) -> None:
    """Over HTTP, with the sum in capital letters as some publishers write it."""
    download(served, SHA256.upper(), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT


def test_a_local_file_arrives_whole(served: str, tmp_path: Path) -> None:
    """By a file URL, for labs that keep images on a share."""
    download((tmp_path / "www" / "image.qcow2").as_uri(), SHA256, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT


def test_another_sum_leaves_nothing(served: str, tmp_path: Path) -> None:
    """Found, wanted and where to look are in the message; no file stays, not even a part."""
    wanted = "0" * 64
    with pytest.raises(
        CloudImageError, match=rf"SHA-256 {SHA256} of 2000000 bytes, wanted {wanted}"
    ):
        download(served, wanted, tmp_path / "got")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["www"]


def test_what_cannot_be_fetched_is_named(served: str, tmp_path: Path) -> None:
    """A missing file and a dead server give the URL and the cause, and leave nothing."""
    with pytest.raises(CloudImageError, match=r"none\.qcow2: cannot be fetched: .*404"):
        download(served.replace("image", "none"), SHA256, tmp_path / "got")
    with pytest.raises(CloudImageError, match="cannot be fetched"):
        download("http://127.0.0.1:1/image.qcow2", SHA256, tmp_path / "got")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["www"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"url": "ftp://e.org/i"}, "scheme 'ftp'; wanted file, http, https"),
        ({"url": "/images/i.qcow2"}, "scheme ''"),
        ({"sha256": "abc"}, "guest_image_sha256: 'abc' is no SHA-256"),
        ({"sha256": ""}, "guest_image_sha256: '' is no SHA-256"),
    ],
)
def test_bad_words_are_refused(words: dict[str, object], message: str) -> None:
    """An unknown scheme and anything but a whole SHA-256 are refused before a byte is fetched."""
    with pytest.raises(BadInputError, match=message):
        image(**words).check()


def test_the_configuration_lets_in_the_lab_s_key_only(keys: LabKeys) -> None:
    """Root by key, the lab's host key, fio among the packages, cloud-init off at the end."""
    text = user_data(image(), keys, apt_conf="")
    assert text.startswith("#cloud-config\n")
    config = json.loads(text.partition("\n")[2])
    assert config["ssh_pwauth"] is False
    assert config["users"][0]["ssh_authorized_keys"] == [keys.public_key.read_text().strip()]
    assert config["ssh_keys"]["ed25519_private"] == keys.host_private_key.read_text()
    assert {"fio", "python3", "pciutils"} <= set(config["packages"])
    assert ["touch", "/etc/cloud/cloud-init.disabled"] in config["runcmd"]
    assert "passwd" not in config["users"][0]


def test_the_way_to_the_archive_is_taken_out_again(keys: LabKeys) -> None:
    """A proxy with a log-in must not stay in the image."""
    config = json.loads(user_data(image(), keys, apt_conf="Acquire…;").partition("\n")[2])
    paths = [file["path"] for file in config["write_files"]]
    assert cloud_image.APT_CONF in paths
    assert ["sh", "-c", cloud_image.FORGET] in config["runcmd"]
    assert cloud_image.APT_CONF in cloud_image.FORGET.split()


def test_secrets_are_not_in_the_inputs(keys: LabKeys) -> None:
    """image.json tells what the image is made of without the private host key."""
    text = json.dumps(image().inputs(keys))
    assert "PRIVATE KEY" not in text
    assert SHA256 in text


def test_the_inputs_follow_the_wish_not_the_place(keys: LabKeys) -> None:
    """Another mirror is the same image; another package is another one."""
    assert image().inputs(keys) == image(url="https://mirror.example.org/i").inputs(keys)
    assert image().inputs(keys) != image(packages=("blktrace",)).inputs(keys)


def test_the_seed_is_what_cloud_init_looks_for(tmp_path: Path) -> None:
    """blkid, by which NoCloud finds its volume, sees a FAT volume named CIDATA; the text is in."""
    documents = {"user-data": "#cloud-config\nx: 1\n", "network-config": network_config()}
    make_seed(tmp_path / "seed", tmp_path / "seed.img", documents, tmp_path / "log")
    argv = ["blkid", "-p", "-o", "export", str(tmp_path / "seed.img")]
    found = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"LABEL=CIDATA", "TYPE=vfat"} <= set(found)
    assert b"#cloud-config\nx: 1\n" in (tmp_path / "seed.img").read_bytes()
    assert (tmp_path / "seed.img").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "seed").exists()


def test_a_report_is_read_from_the_console() -> None:
    """Carriage returns and other lines around it do not matter."""
    assert parse_report(REPORT) == {
        "kernel_release": "6.1.0-9-amd64",
        "fio_version": "3.33",
        "fio_engines": ["io_uring", "libaio", "null"],
    }


def test_no_report_is_none_and_one_without_fio_an_error() -> None:
    """Not come so far, and come without fio, are told apart."""
    assert parse_report("Kernel panic - not syncing\n") is None
    with pytest.raises(CloudImageError, match="fio could not be installed"):
        parse_report("NVMELAB-IMAGE 6.1.0   \n")


def stub_qemu(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a qemu-system-x86_64 on PATH that runs a script in the build's folder."""
    stub = folder / "qemu-system-x86_64"
    stub.write_text(f"#!/bin/sh\n{script}\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{Path('/usr/bin')}:{Path('/bin')}")


def test_a_boot_that_reports_is_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the console said is kept in the build's log."""
    serial = f"printf 'NVMELAB-IMAGE 6.1 fio-3.33 null\\n' > {tmp_path}/serial.log"
    stub_qemu(tmp_path, monkeypatch, serial)
    with (tmp_path / "lock").open("w") as lock:
        facts = boot_once(image(), tmp_path, lock.fileno())
    assert facts["fio_engines"] == ["null"]
    assert "NVMELAB-IMAGE" in (tmp_path / "build.log").read_text()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no such machine >&2; exit 1", "status 1"),
        ("exec sleep 30", "status 124"),
        ("echo Kernel panic > {folder}/serial.log", r"without a report(.|\n)*Kernel panic"),
    ],
)
def test_a_boot_that_fails_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    """QEMU fails, hangs or panics: each ends within its time, with the end of the console."""
    stub_qemu(tmp_path, monkeypatch, script.format(folder=tmp_path))
    with (tmp_path / "lock").open("w") as lock, pytest.raises(CloudImageError, match=message):
        boot_once(image(timeout_s=1), tmp_path, lock.fileno())


@pytest.mark.qemu
@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not there")
def test_a_qcow2_becomes_a_raw_disk(
    tmp_path: Path, keys: LabKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way but the boot: fetched, checked, converted by qemu-img, grown to its size."""
    source, work = tmp_path / "source.raw", tmp_path / "work"
    work.mkdir()
    source.write_bytes(CONTENT.ljust(4 << 20, b"\0"))
    qcow2 = tmp_path / "source.qcow2"
    argv = ["qemu-img", "convert", "-q", "-O", "qcow2", str(source), str(qcow2)]
    subprocess.run(argv, check=True)
    wanted = image(url=qcow2.as_uri(), sha256=hashlib.sha256(qcow2.read_bytes()).hexdigest())
    monkeypatch.setattr(cloud_image, "boot_once", lambda *_: {"fio_version": "3.33"})
    facts = wanted.make(keys, work, 0)
    assert (facts["boot"], facts["kernel"]) == ("firmware", None)
    assert sorted(path.name for path in work.iterdir()) == ["build.log", "disk.raw"]
    assert (work / "disk.raw").stat().st_size == 64 << 20
    assert (work / "disk.raw").read_bytes().startswith(CONTENT)


def test_the_one_boot_writes_the_disk_and_has_a_network(tmp_path: Path) -> None:
    """No snapshot, else nothing would stay; a read-only seed; no restriction of the network."""
    text = " ".join(qemu_argv(image(accelerator="kvm"), tmp_path))
    assert "snapshot" not in text
    assert "restrict" not in text
    assert "-accel kvm" in text
    assert "id=seed,read-only=on" in text
