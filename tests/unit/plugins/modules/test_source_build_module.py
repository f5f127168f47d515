# SPDX-License-Identifier: GPL-3.0-or-later
"""The module source_build on real repositories, real tarballs and real builds, all small."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from build_orders import HUB, BuildLab
from git_sources import CONFIGURE, Origin, origin
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.module_utils.build.store import build_of
from ansible_collections.nvmelab.bench.plugins.modules import source_build

BREAKS = (
    "#!/bin/sh\necho fine > out.txt\necho 'greet.c:3: error: no such luck'\necho later\nexit 3\n"
)


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> BuildLab:
    return BuildLab(tmp_path)


def build(lab: BuildLab, **changes: Any) -> dict[str, Any]:
    """The module's result."""
    return run_module(source_build, **lab.options(**changes))


def sha256(path: Path) -> str:
    """A file's checksum by another hand."""
    return subprocess.run(
        ["sha256sum", path], capture_output=True, text=True, check=True
    ).stdout.split()[0]


def test_it_builds_once_and_knows_it_afterwards(lab: BuildLab) -> None:
    """The second run fetches, configures and builds nothing, and returns the same stamp."""
    first = build(lab)
    second = build(lab)
    assert (first["changed"], second["changed"], lab.configure_count) == (True, False, 1)
    assert first["reasons"] == ["greet 1.0 is not built yet"]
    assert second["reasons"] == []
    assert second["build"] == first["build"]
    assert first["build"]["source"]["commit"] == lab.origin.git("rev-parse", "HEAD")
    assert first["build"]["answers"] == {f"{first['build']['prefix']}/bin/greet": "greet 1.0"}


def test_what_is_installed_knows_its_place(lab: BuildLab) -> None:
    """The prefix that configure is told is the folder that the product then lies in."""
    prefix = Path(build(lab)["build"]["prefix"])
    assert prefix.parent == lab.root / "builds" / "greet"
    assert f"# lives at {prefix}\n" in (prefix / "bin/greet").read_text()
    assert "make" in (prefix / "build.log").read_text()
    assert lab.folders() == [prefix.name]


def test_two_versions_live_side_by_side(lab: BuildLab) -> None:
    """Going back to the first builds nothing."""
    tag = lab.edited(greet_in="#!/bin/sh\necho greet 1.0 edited\n")
    one, two = build(lab)["build"], build(lab, ref=tag)["build"]
    assert one["prefix"] != two["prefix"]
    assert (Path(one["prefix"]) / "bin/greet").exists()
    assert build(lab)["changed"] is False
    assert lab.configure_count == 2


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"configure": ["./configure", "--prefix={prefix}", "--fast"]},
            "configure: found nothing, wanted --fast",
        ),
        ({"environment": {"GREETING": "x"}}, "environment GREETING: found nothing, wanted x"),
        ({"tools": ["make", "true"]}, "toolchain true: found nothing, wanted "),
    ],
)
def test_what_differs_is_named_and_built_anew(
    lab: BuildLab, changes: dict[str, Any], line: str
) -> None:
    """In check mode too, with both sides in the diff; and the older build stays."""
    first = build(lab)["build"]
    checked = build(lab, **changes, _ansible_check_mode=True, _ansible_diff=True)
    assert checked["changed"]
    assert any(
        reason.startswith(f"not as {first['prefix']}: {line}") for reason in checked["reasons"]
    )
    assert checked["diff"]["before_header"] == first["prefix"]
    assert checked["diff"]["before"] != checked["diff"]["after"]
    assert lab.configure_count == 1
    done = build(lab, **changes)
    assert done["reasons"] == checked["reasons"]
    assert Path(first["prefix"]).is_dir()


def test_options_that_this_version_knows_not_are_left_out(lab: BuildLab) -> None:
    """And the log says which; what is wished decides the build as much as what came of it."""
    helps = '#!/bin/sh\ntest "$1" != --help || { echo " --color[=WHEN]  say how"; exit 0; }\n'
    configure = CONFIGURE.replace("#!/bin/sh\n", helps)
    ref = lab.edited(configure=configure)
    wishes = ["--color=never", "--colo", "--fast"]
    made = build(lab, ref=ref, configure_if_known=wishes)["build"]
    log = (Path(made["prefix"]) / "build.log").read_text()
    assert f"configured with --prefix={made['prefix']} --color=never, " in log
    left_out = [line for line in log.splitlines() if line.startswith("# left out")]
    assert [line.split(":")[0] for line in left_out] == ["# left out --colo", "# left out --fast"]
    again = build(lab, ref=ref, configure_if_known=["--fast"])
    assert again["reasons"] == [
        f"not as {made['prefix']}: configure_if_known: found --color=never --colo, wanted nothing"
    ]


def test_a_configure_that_does_not_help_is_named(lab: BuildLab) -> None:
    """It does not look as if the options had merely vanished."""
    failed = build(lab, configure_if_known=["--fast"])
    assert "./configure --help ended with status 2; leave configure_if_known empty" in failed["msg"]
    assert lab.folders() == ["build.log"]


def test_check_mode_on_a_fresh_host_writes_nothing(lab: BuildLab) -> None:
    """It tells the commit that it would fetch, asked of the source."""
    checked = build(lab, _ansible_check_mode=True)
    commit = lab.origin.git("rev-parse", "HEAD")
    assert checked["changed"]
    assert checked["build"] is None
    assert f"would fetch greet-1.0 (commit {commit})" in checked["reasons"][0]
    assert not lab.root.exists()


def test_check_mode_without_tools_passes(lab: BuildLab) -> None:
    """On a host that nothing was installed on yet, the roles' packages are not there either."""
    checked = build(lab, tools=["nosuchtool"], _ansible_check_mode=True)
    assert checked["changed"]
    assert "nosuchtool" in checked["reasons"][0]


def test_a_failed_build_leaves_its_log_and_nothing_else(lab: BuildLab) -> None:
    """One line with the first complaint, the log's end beside it; and the next run repairs."""
    broken = lab.edited(configure=BREAKS)
    failed = build(lab, ref=broken)
    assert failed["failed"]
    assert "configure failed: ./configure" in failed["msg"]
    assert "status 3: greet.c:3: error: no such luck (log: " in failed["msg"]
    assert "\n" not in failed["msg"]
    assert failed["log_tail"][-1] == "later"
    assert lab.folders() == ["build.log"]
    assert failed["log"] == str(lab.root / "builds/greet/build.log")
    assert "no such luck" in Path(failed["log"]).read_text()
    assert build(lab)["changed"]
    assert "build.log" not in lab.folders()


def test_a_script_is_not_quoted_whole(lab: BuildLab) -> None:
    """The message stays one line that can be read; the log has the rest."""
    script = "for word in one two three; do\n  echo $word > /dev/null;\ndone;\n" * 9
    failed = build(lab, build=["sh", "-c", script + "echo 'x.c:1: error: no' >&2; exit 3"])
    assert " … ended with status 3: x.c:1: error: no (log: " in failed["msg"]
    assert failed["msg"].count("for word") < 9
    assert "\n" not in failed["msg"]
    assert script in Path(failed["log"]).read_text()


def test_a_build_that_does_not_work_is_no_build(lab: BuildLab) -> None:
    """The checks are asked before the stamp is written."""
    failed = build(lab, checks=[{"argv": ["{prefix}/bin/greet"], "contains": "greet 2.0"}])
    assert "was built, but does not work" in failed["msg"]
    assert "found 'greet 1.0', wanted 'greet 2.0'" in failed["msg"]
    assert lab.folders() == ["build.log"]


def test_a_build_that_lost_a_program_is_repaired(lab: BuildLab) -> None:
    """The stamp alone is not believed: the product is asked."""
    first = build(lab)["build"]
    (Path(first["prefix"]) / "bin/greet").unlink()
    again = build(lab)
    assert again["changed"]
    assert "does not work" in again["reasons"][0]
    assert again["build"]["prefix"] == first["prefix"]
    assert build(lab)["changed"] is False


def test_a_build_that_was_killed_is_built_again(lab: BuildLab) -> None:
    """SIGKILL in mid-build: what it left is cleared, what it had started is waited for."""
    slow = lab.edited(Makefile="all:\n\ttouch started; sleep 1\ninstall:\n\ttrue\n")
    options = lab.options(ref=slow, checks=[])
    process = subprocess.Popen(
        [sys.executable, str(source_build.__file__)], stdin=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
    process.stdin.close()
    wait_for(lambda: list(lab.root.glob("builds/greet/.work-*/source/started")))
    process.kill()
    process.wait()
    assert not list(lab.root.glob("builds/greet/*/build.json"))
    again = run_module(source_build, **options)
    assert again["changed"]
    assert again["reasons"] == [f"a build at {again['build']['prefix']} was interrupted"]
    assert not list(lab.root.glob("builds/greet/.work-*"))


def wait_for(condition: Any) -> None:
    """Wait until it holds, with a deadline."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_two_at_once_build_once(lab: BuildLab) -> None:
    """The second waits for the first, and finds its build."""
    slow = lab.edited(Makefile="all:\n\tsleep 0.5\ninstall:\n\ttrue\n")
    results: list[dict[str, Any]] = []
    changes = {"ref": slow, "checks": []}
    threads = [
        threading.Thread(target=lambda: results.append(build(lab, **changes))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result["changed"] for result in results) == [False, True]
    assert lab.configure_count == 1


def test_the_deadline_ends_everything_that_was_started(lab: BuildLab) -> None:
    """Also the grandchildren that would outlive make."""
    pids = lab.folder / "pids"
    hang = f"all:\n\tsh -c 'echo $$$$ >> {pids}; exec sleep 60' & sleep 60\n"
    failed = build(lab, ref=lab.edited(Makefile=hang), timeout_s=2)
    assert "build: not done within timeout_s = 2 s" in failed["msg"]
    assert lab.folders() == ["build.log"]
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not alive(pid))


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_environment_of_a_build_is_its_own(
    lab: BuildLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the caller exports does not reach it, so it is the same for everybody."""
    monkeypatch.setenv("GREETING", "from outside")
    monkeypatch.setenv("PATH", f"{lab.folder}:{os.environ['PATH']}")
    prefix = Path(build(lab)["build"]["prefix"])
    assert "GREETING none" in (prefix / "build.log").read_text()
    other = build(lab, environment={"GREETING": "at {prefix}"})["build"]
    assert f"GREETING at {other['prefix']}" in (Path(other["prefix"]) / "build.log").read_text()


def test_products_are_copied_with_their_folders(lab: BuildLab) -> None:
    """Globs, whole folders, links as links, and those that may be run as such."""
    lab.origin.commit({"lib/a/b.h": "b", "lib/c.h": "c", "tools/x/run": "#!/bin/sh\n"})
    (lab.origin.folder / "tools/link").symlink_to("x/run")
    lab.origin.git("add", "tools/link")
    tag = lab.edited(Makefile="all:\n\ttrue\n")
    products = [{"from": "lib/**/*.h", "to": "include"}, {"from": "tools"}, {"from": "no-pe*"}]
    failed = build(lab, ref=tag, install=[], checks=[], products=products)
    assert "products: no-pe* fits nothing" in failed["msg"]
    done = build(lab, ref=tag, install=[], checks=[], products=products[:2])
    prefix = Path(done["build"]["prefix"])
    assert (prefix / "include/a/b.h").read_text() == "b"
    assert (prefix / "include/c.h").read_text() == "c"
    assert (prefix / "tools/link").readlink() == Path("x/run")
    assert os.access(prefix / "tools/x/run", os.X_OK)


def test_submodules_are_recorded_with_their_stand_ins(lab: BuildLab) -> None:
    """And decide on the digest as the top commit does."""
    sub: Origin = origin(lab.hub / "sub")
    pin = sub.commit({"s": "1"})
    stand_in = sub.commit({"s": "2"}, tag="s2")
    lab.origin.submodule("sub", "../sub", pin)
    tag = lab.edited(README="x")
    pinned = build(lab, ref=tag)["build"]
    other = build(lab, ref=tag, submodule_overrides={"sub": {"ref": "s2"}})["build"]
    assert [row["stand_in"] for row in pinned["submodules"]] == [False]
    assert [(r["commit"], r["pinned"], r["stand_in"]) for r in other["submodules"]] == [
        (stand_in, pin, True)
    ]
    assert pinned["digest"] != other["digest"]


def test_a_tarball_is_checked_and_built(lab: BuildLab) -> None:
    """By its checksum; the one folder that it begins with is no part of the tree."""
    path = lab.tarball()
    changes = {"url": f"file://{path}", "ref": None, "sha256": sha256(path)}
    done = build(lab, **changes)
    assert done["build"]["source"]["kind"] == "tarball"
    assert done["build"]["version"] == "1.0"
    path.unlink()
    assert build(lab, **changes)["changed"] is False
    assert build(lab, **changes, environment={"A": "b"}, offline=True)["changed"]


def test_another_file_than_was_meant_is_not_built(lab: BuildLab) -> None:
    """Both checksums are named, and the file is not kept."""
    path = lab.tarball()
    failed = build(lab, url=f"file://{path}", ref=None, sha256="0" * 64)
    assert f"found sha256 {sha256(path)}, wanted {'0' * 64}" in failed["msg"]
    assert not list(lab.root.glob("cache/source/*.file"))
    assert not list(lab.root.glob("cache/source/*.part"))


@pytest.fixture(name="server")
def _server(lab: BuildLab) -> Iterator[str]:
    handler = functools.partial(Silent, directory=str(lab.folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_a_tarball_comes_over_http_through_a_mirror(lab: BuildLab, server: str) -> None:
    """The record keeps the canonical URL and the place it came from."""
    path = lab.tarball()
    url = f"{HUB}releases/{path.name}"
    changes = {"url": url, "ref": None, "sha256": sha256(path)}
    missing = build(lab, **changes, mirrors={HUB: server})
    assert (
        f"{url} (mirror {server}releases/{path.name}) cannot be fetched: HTTP status 404"
        in (missing["msg"])
    )
    mirrors = {f"{HUB}releases/": server}
    source = build(lab, **changes, mirrors=mirrors)["build"]["source"]
    assert (source["url"], source["fetched_from"]) == (url, server + path.name)


def test_a_build_is_packed_and_taken_over(lab: BuildLab) -> None:
    """On a host without tools and sources; the archive is not needed afterwards."""
    made = build(lab, pack_to=str(lab.folder / "out"))
    archive = made["archive"]
    assert archive["sha256"] == sha256(Path(archive["path"]))
    assert build(lab, pack_to=str(lab.folder / "out"))["changed"] is False
    lab.root.rename(lab.folder / "builder")
    given = {"from_archive": {"url": archive["path"], "sha256": archive["sha256"]}}
    bare = {**given, "mirrors": {}, "tools": ["nosuchtool"], "offline": True}
    assert build(lab, **bare, _ansible_check_mode=True)["changed"]
    assert not (lab.root / "builds/greet").exists()
    taken = build(lab, **bare)
    assert taken["changed"]
    assert taken["build"]["digest"] == made["build"]["digest"]
    assert taken["build"]["unpacked_from"]["sha256"] == archive["sha256"]
    Path(archive["path"]).unlink()
    assert build(lab, **bare)["changed"] is False
    assert subprocess.run([f"{taken['build']['prefix']}/bin/greet"], check=True)


def test_an_archive_of_something_else_is_refused(lab: BuildLab, tmp_path: Path) -> None:
    """Other arguments, another tag, another place, a wrong checksum, no archive at all."""
    archive = build(lab, pack_to=str(lab.folder / "out"))["archive"]
    given = {"url": archive["path"], "sha256": archive["sha256"]}
    lab.root.rename(tmp_path / "builder")
    for changes, words in (
        ({"install": ["make"]}, "holds another build: install: found install, wanted nothing"),
        ({"ref": "greet-2.0"}, "holds another build: ref: found greet-1.0, wanted greet-2.0"),
        ({"commit": "e" * 40}, "holds another build: commit: found"),
        ({"lab_directory": str(tmp_path / "elsewhere")}, "wanted one for "),
        ({"from_archive": {**given, "sha256": "1" * 64}}, "wanted " + "1" * 64),
    ):
        failed = build(lab, **{"from_archive": given, **changes})
        assert words in failed.get("msg", ""), changes
    tarball = lab.tarball()
    wrong = {"url": str(tarball), "sha256": sha256(tarball)}
    assert "wanted an archive of pack_to" in build(lab, from_archive=wrong)["msg"]
    assert lab.folders() == []


def test_a_broken_archive_does_not_land(lab: BuildLab) -> None:
    """A product that does not run here is no build here."""
    archive = build(lab, pack_to=str(lab.folder / "out"))["archive"]
    lab.root.rename(lab.folder / "builder")
    given = {"url": archive["path"], "sha256": archive["sha256"]}
    failed = build(lab, from_archive=given, checks=[{"argv": ["{prefix}/bin/nope"]}])
    assert "was unpacked, but does not work here" in failed["msg"]
    assert lab.folders() == []


def test_all_builds_of_a_product_are_removed_but_not_under_their_users(lab: BuildLab) -> None:
    """A program that runs keeps them; the cache of sources stays."""
    tag = lab.edited(Makefile="all:\n\ttrue\ninstall:\n\tcp /bin/sleep {}\n")
    products = [{"from": "prog"}]
    steps = {"build": ["cp", "/bin/sleep", "prog"], "install": [], "checks": []}
    prefix = build(lab, ref=tag, products=products, **steps)["build"]["prefix"]
    user = subprocess.Popen([f"{prefix}/prog", "60"])
    try:
        refused = build(lab, state="absent")
        assert f"in use by prog (pid {user.pid})" in refused["msg"]
    finally:
        user.send_signal(signal.SIGKILL)
        user.wait()
    assert build(lab, state="absent", _ansible_check_mode=True)["changed"]
    assert lab.folders() != []
    assert run_module(source_build, name="greet", state="absent", lab_directory=str(lab.root))[
        "changed"
    ]
    assert lab.folders() == []
    assert list(lab.root.glob("cache/source/*.git"))
    assert build(lab, state="absent")["changed"] is False


def test_a_program_leads_to_its_stamp(lab: BuildLab) -> None:
    """So that a run can record which build it used, also through a link; others lead nowhere."""
    made = build(lab)["build"]
    link = lab.folder / "greet"
    link.symlink_to(f"{made['prefix']}/bin/greet")
    assert build_of(link) == made
    assert build_of(Path("/bin/sh")) is None


def test_a_build_of_a_newer_nvmelab_is_not_touched(lab: BuildLab) -> None:
    """Its stamp may say what we cannot know."""
    prefix = Path(build(lab)["build"]["prefix"])
    stamp = json.loads((prefix / "build.json").read_text())
    (prefix / "build.json").write_text(json.dumps({**stamp, "schema_version": 99}))
    failed = build(lab)
    assert "found schema_version 99, wanted at most 1" in failed["msg"]
    assert (prefix / "bin/greet").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ref": None}, "found neither of ref (a git repository) and sha256"),
        ({"sha256": hashlib.sha256().hexdigest()}, "found both of ref"),
        ({"ref": "--upload-pack=x"}, "ref: found '--upload-pack=x', wanted a tag or a commit"),
        ({"ref": None, "sha256": "abc"}, "sha256: found 'abc', wanted 64 lower-case hex digits"),
        ({"commit": "abc"}, "commit: found 'abc', wanted 40 lower-case hex digits"),
        ({"name": "../x"}, "name: found '../x'"),
        ({"version": "a/b"}, "version: found 'a/b'"),
        ({"products": [{"from": "../../etc/*"}]}, "../../etc/* leads out of its tree"),
        ({"submodule_overrides": {"sub": {"uri": "x"}}}, "submodule_overrides.sub: found uri"),
        ({"submodule_overrides": {"/sub": {"ref": "x"}}}, "/sub leads out"),
        ({"tools": ["make", "nosuch", "nosuch2"]}, "not found on PATH"),
        ({"configure": ["./nosuch"]}, "configure needs ./nosuch, which is not there"),
        ({"configure": [], "configure_if_known": ["--a"]}, "configure_if_known: found ['--a']"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    lab: BuildLab, changes: dict[str, Any], words: str
) -> None:
    """Naming the option, what was found and what was wanted; nothing is built."""
    failed = build(lab, **changes)
    assert words in failed["msg"]
    assert "\n" not in failed["msg"]
    assert not list(lab.root.glob("builds/greet/*/build.json"))
