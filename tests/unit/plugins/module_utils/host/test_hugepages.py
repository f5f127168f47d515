# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of hugepages: what is wished for becomes counts, on a kernel that may grant fewer."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fake_hugepages import FakeKernel
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import hugepages
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugepages import (
    Counts,
    HugepagesError,
    Pool,
    Record,
    State,
    Step,
    Wishes,
    apply,
    kernel_args,
    left_over,
    load_record,
    plan,
    read_state,
    refuse_impossible,
    resolve,
    rows,
    shortfall,
)

SMALL, OTHER, LARGE = Pool("2M", 0), Pool("2M", 1), Pool("1G", 0)
EMPTY = Counts(0, 0, 0, 0)


def pages(page_size: str, count: int, node: int | None = None) -> dict[str, Any]:
    """One wish."""
    return {"page_size": page_size, "count": count, "node": node}


def plan_text(now: Counts, before: Counts, wanted: int) -> int | None:
    """What is written into the one pool, or None."""
    steps = plan({SMALL: now}, {SMALL: before}, {SMALL: wanted} if wanted else {})
    return steps[0].write if steps else None


def test_state_is_read_per_node(tmp_path: Path) -> None:
    """Every file lands in its field; promised pages are the host's."""
    pools = {SMALL: Counts(8, 5, 1, 2), OTHER: Counts(4, 4, 0, 2), LARGE: Counts(1, 0, 0, 0)}
    FakeKernel(tmp_path, pools)
    assert read_state(tmp_path) == pools


def test_a_kernel_without_numa_has_one_pool(tmp_path: Path) -> None:
    """Without node folders the counts of the whole host are used, under node -1."""
    pool = Pool("2M", hugepages.NO_NODE)
    FakeKernel(tmp_path, {pool: Counts(3, 2, 0, 0)})
    assert read_state(tmp_path) == {pool: Counts(3, 2, 0, 0)}
    assert resolve([pages("2M", 5)], read_state(tmp_path), tmp_path) == {pool: 5}


def test_a_kernel_without_hugepages_has_no_pool(tmp_path: Path) -> None:
    """No folder is no error: the refusal comes when pages are wished for."""
    assert read_state(tmp_path) == {}
    with pytest.raises(BadInputError, match="CONFIG_HUGETLBFS"):
        resolve([pages("2M", 1)], {}, tmp_path)


def test_a_file_without_a_number_is_named(tmp_path: Path) -> None:
    """The path is in the message, not a traceback."""
    FakeKernel(tmp_path, {SMALL: EMPTY}).write(
        "sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "many\n"
    )
    with pytest.raises(HugepagesError, match=r"resv_hugepages: found .*many.*wanted a number"):
        read_state(tmp_path)


def test_a_count_without_node_is_spread(tmp_path: Path) -> None:
    """Even shares, the remainder to the lowest nodes, nothing lost."""
    state = {Pool("2M", node): EMPTY for node in (0, 2, 5)}
    wishes = resolve([pages("2M", 11)], state, tmp_path)
    assert wishes == {Pool("2M", 0): 4, Pool("2M", 2): 4, Pool("2M", 5): 3}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([pages("2M", 1, 7)], "found node 7, wanted one of the host's nodes with memory: 0, 1"),
        ([pages("2M", -1, 0)], "found count -1, wanted 0 or more"),
        ([pages("2M", 1, 0), pages("2M", 2, 0)], "found 2M pages on node 0 twice"),
        ([pages("2M", 1), pages("2M", 2, 1)], "found 2M pages on node 1 twice"),
    ],
)
def test_wishes_that_make_no_sense(tmp_path: Path, wrong: list[Any], words: str) -> None:
    """Found and wanted are in the message."""
    with pytest.raises(BadInputError, match=words):
        resolve(wrong, {SMALL: EMPTY, OTHER: EMPTY}, tmp_path)


@pytest.mark.parametrize(("flags", "word"), [("fpu sse2", "lacks"), ("fpu pdpe1gb", "has")])
def test_absent_1g_pages_name_the_cpu_flag(tmp_path: Path, flags: str, word: str) -> None:
    """The refusal names pdpe1gb and says whether this CPU has it."""
    kernel = FakeKernel(tmp_path, {SMALL: EMPTY})
    kernel.write("proc/cpuinfo", f"flags\t\t: {flags}\n")
    with pytest.raises(BadInputError, match=f"wanted the CPU flag pdpe1gb, which .* {word};"):
        resolve([pages("1G", 1)], read_state(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("before", "wanted", "write"),
    [
        (EMPTY, 8, 8),
        (Counts(16, 16, 0, 0), 8, None),  # free pages of an earlier sysctl serve
        (Counts(16, 16, 0, 0), 20, 20),
        (Counts(16, 4, 0, 0), 8, 20),  # 12 are in use by others
        (Counts(16, 16, 0, 10), 8, 18),  # 10 are promised to others
        (Counts(6, 0, 2, 0), 8, 14),  # 4 reserved and 2 surplus pages are in use
    ],
)
def test_wishes_come_on_top_of_what_others_use(
    before: Counts, wanted: int, write: int | None
) -> None:
    """Afterwards as many pages are free as were wished for; worked out by hand."""
    assert plan_text(before, before, wanted) == write


@pytest.mark.parametrize(
    ("now", "before", "wanted", "write"),
    [
        (Counts(8, 0, 0, 0), EMPTY, 8, None),  # ours are in use: no second helping
        (Counts(8, 8, 0, 0), EMPTY, 4, 4),  # a smaller wish
        (Counts(8, 2, 0, 0), EMPTY, 4, 6),  # but 6 are in use
        (Counts(8, 8, 0, 0), EMPTY, 0, 0),  # undo
        (Counts(8, 8, 0, 3), EMPTY, 0, 3),  # 3 were promised since
        (Counts(18, 8, 0, 5), Counts(8, 8, 0, 5), 0, 15),  # 5 were promised before, from here
        (Counts(4, 4, 0, 5), Counts(0, 0, 0, 5), 0, 0),  # promised before, so on another node
        (Counts(3, 3, 0, 0), Counts(5, 5, 0, 0), 0, 5),  # somebody else shrank it
        (Counts(10, 4, 0, 0), Counts(6, 0, 2, 0), 0, 4),  # surplus before is surplus again
    ],
)
def test_shrinking_stops_at_what_is_in_use(
    now: Counts, before: Counts, wanted: int, write: int | None
) -> None:
    """A later plan against the record; worked out by hand."""
    assert plan_text(now, before, wanted) == write


def test_shrinking_comes_first() -> None:
    """Room is made before it is needed, whichever pool comes first by its name."""
    now = {SMALL: Counts(4, 4, 0, 0), LARGE: Counts(2, 2, 0, 0)}
    before = {SMALL: EMPTY, LARGE: EMPTY}
    assert plan(now, before, {SMALL: 8}) == [Step(LARGE, 2, 0), Step(SMALL, 4, 8)]
    assert plan(now, before, {LARGE: 3}) == [Step(SMALL, 4, 0), Step(LARGE, 2, 3)]


def test_a_vanished_pool_is_named() -> None:
    """A node that was unplugged since cannot be put back in silence."""
    with pytest.raises(HugepagesError, match="2M pages on node 0: recorded before"):
        plan({}, {SMALL: EMPTY}, {})


def granted(kernel: FakeKernel, wishes: Wishes, before: State | None = None, tries: int = 5) -> Any:
    """The rows after the plan was carried out on this kernel."""
    now = read_state(kernel.root)
    before = {pool: now[pool] for pool in wishes} if before is None else before
    apply(kernel.root, plan(now, before, wishes), try_count=tries)
    return rows(read_state(kernel.root), before, wishes)


def test_compaction_is_tried_until_the_pages_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write, compact, write: three compactions here, and no more once all are there."""
    kernel = FakeKernel(tmp_path, {SMALL: EMPTY}, room={SMALL: 2}, gain=2).install(monkeypatch)
    (row,) = granted(kernel, {SMALL: 8})
    assert (row["got"], row["missing"]) == (8, 0)
    names = [name.rpartition("/")[2] for name, _ in kernel.writes]
    assert names == ["nr_hugepages", *["compact_memory", "nr_hugepages"] * 3]


def test_too_few_pages_are_told_with_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last try: got, wanted, missing and boot arguments; nothing else was written."""
    kernel = FakeKernel(tmp_path, {SMALL: EMPTY}, room={SMALL: 5}).install(monkeypatch)
    table = granted(kernel, {SMALL: 8}, tries=3)
    assert kernel.writes.count((str(SMALL.file(Path())), 8)) == 3
    assert {Path(name).name for name, _ in kernel.writes} == {"nr_hugepages", "compact_memory"}
    text = shortfall(table, kernel_args([pages("2M", 8, 0)]), 3)
    assert text is not None
    assert "2M pages on node 0: got 5 of 8 wanted, 3 missing after up to 3 tries" in text
    assert "'hugepagesz=2M hugepages=0:8'" in text
    assert shortfall(rows(read_state(tmp_path), {SMALL: EMPTY}, {SMALL: 5}), [], 3) is None


def test_no_compaction_no_second_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory cannot be compacted, asking again is of no use."""
    kernel = FakeKernel(tmp_path, {SMALL: EMPTY}, room={SMALL: 5}).install(monkeypatch)
    monkeypatch.setattr(hugepages, "_compact", lambda _: False)
    assert granted(kernel, {SMALL: 8})[0]["missing"] == 3
    assert len(kernel.writes) == 1


COUNTS = st.tuples(*[st.integers(0, 12)] * 4)


@settings(max_examples=60, deadline=None)
@given(first=COUNTS, wish=st.integers(0, 20), room=st.integers(0, 40), taken=st.integers(0, 20))
def test_whatever_others_do_they_keep_theirs(
    first: tuple[int, int, int, int], wish: int, room: int, taken: int
) -> None:
    """Others' use survives; a full grant leaves the wish free; undo is exact once theirs is back.

    ``first`` is used and free reserved pages, surplus pages, and how many free ones are promised.
    The fake kernel turns pages in use into surplus when it is asked to shrink too far.
    """
    used, free, surplus, promised = first
    before = Counts(used + free + surplus, free, surplus, min(promised, free))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        kernel = FakeKernel(Path(folder), {SMALL: before}, room={SMALL: before.total + room})
        kernel.install(monkeypatch)
        (row,) = granted(kernel, {SMALL: wish})
        now = kernel.pools[SMALL]
        assert now.total - now.free == before.total - before.free
        assert row["got"] + row["missing"] == row["wanted"] == wish
        if not row["missing"]:
            assert now.free - now.promised >= wish
        taken = min(taken, now.free - now.promised)
        kernel.use(SMALL, taken)
        granted(kernel, {}, {SMALL: before})
        assert kernel.pools[SMALL].surplus <= before.surplus
        kernel.use(SMALL, -taken)
        table = granted(kernel, {}, {SMALL: before})
        after = kernel.pools[SMALL]
        assert left_over(table) is None
        assert (after.reserved, after.promised) == (before.reserved, before.promised)
        assert after.total - after.free == before.total - before.free
        # The kernel itself ends surplus pages when a page comes back.
        assert after.surplus <= before.surplus


def test_pages_in_use_are_left_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo gives back the free ones and says how many stay."""
    kernel = FakeKernel(tmp_path, {SMALL: EMPTY}).install(monkeypatch)
    granted(kernel, {SMALL: 8})
    kernel.use(SMALL, 3)
    text = left_over(granted(kernel, {}, {SMALL: EMPTY}))
    assert text is not None
    assert "2M pages on node 0: found 3 reserved (0 free), wanted 0 as before" in text
    assert kernel.pools[SMALL] == Counts(3, 0, 0, 0)


def test_read_only_sysfs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written, and with the file's name; nothing to write is no error."""
    FakeKernel(tmp_path, {SMALL: EMPTY})
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(HugepagesError, match=r"nr_hugepages: found read-only.*container"):
        refuse_impossible(tmp_path, [Step(SMALL, 0, 8)])
    refuse_impossible(tmp_path, [])


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EROFS, "found read-only"), (errno.EINVAL, "8 cannot be written: Invalid argument")],
)
def test_a_refused_write_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    """The kernel's error and the file are in the message."""

    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(HugepagesError, match=words):
        hugepages.write_number(tmp_path / "nr_hugepages", 8)


def test_a_number_is_written_and_no_file_is_made(tmp_path: Path) -> None:
    """What was there is replaced whole; a missing file is an error."""
    (tmp_path / "nr_hugepages").write_text("1234\n")
    hugepages.write_number(tmp_path / "nr_hugepages", 8)
    assert (tmp_path / "nr_hugepages").read_text() == "8\n"
    with pytest.raises(HugepagesError, match="No such file"):
        hugepages.write_number(tmp_path / "absent", 8)
    assert not (tmp_path / "absent").exists()


def test_more_than_there_is_memory_is_refused(tmp_path: Path) -> None:
    """16 GiB are available: 16 pages of 1 GiB are tried, 17 are not."""
    FakeKernel(tmp_path, {LARGE: EMPTY})
    refuse_impossible(tmp_path, [Step(LARGE, 0, 16)])
    with pytest.raises(HugepagesError, match=r"found 16384 MiB available.*wanted 17408 MiB"):
        refuse_impossible(tmp_path, [Step(LARGE, 0, 17)])


@pytest.mark.parametrize(
    ("wishes", "default", "args"),
    [
        ([], None, []),
        ([pages("1G", 4)], None, ["hugepagesz=1G", "hugepages=4"]),
        (
            [pages("2M", 512), pages("1G", 4)],
            "1G",
            [
                "default_hugepagesz=1G",
                "hugepagesz=1G",
                "hugepages=4",
                "hugepagesz=2M",
                "hugepages=512",
            ],
        ),
        ([pages("2M", 8, 1), pages("2M", 4, 0)], None, ["hugepagesz=2M", "hugepages=0:4,1:8"]),
        ([pages("2M", 0)], None, []),
    ],
)
def test_boot_arguments(wishes: list[Any], default: str | None, args: list[str]) -> None:
    """Each size once, its count after it, the default first."""
    assert kernel_args(wishes, default) == args


def test_record_survives_and_keeps_the_first_counts(tmp_path: Path) -> None:
    """What was recorded first wins; a pool wished for later is added as it is then."""
    FakeKernel(tmp_path, {SMALL: EMPTY})
    path = tmp_path / "record.json"
    assert load_record(path, tmp_path) == Record("boot-1", {})
    now = {SMALL: Counts(2, 1, 0, 0), OTHER: Counts(7, 7, 0, 0)}
    record = Record("boot-1", {}).extended(now, {SMALL: 4}, ["/a"])
    later = {SMALL: Counts(5, 5, 0, 0), OTHER: Counts(9, 9, 0, 0)}
    record = record.extended(later, {SMALL: 4, OTHER: 1}, ["/a", "/a/b"])
    record.save(path)
    assert load_record(path, tmp_path) == Record(
        "boot-1", {SMALL: now[SMALL], OTHER: later[OTHER]}, ("/a", "/a/b")
    )


def test_a_reboot_has_put_the_counts_back(tmp_path: Path) -> None:
    """Counts of an earlier boot are forgotten, the folders are not."""
    kernel = FakeKernel(tmp_path, {SMALL: EMPTY})
    Record("boot-1", {SMALL: EMPTY}, ("/a",)).save(tmp_path / "record.json")
    kernel.write("proc/sys/kernel/random/boot_id", "boot-2\n")
    assert load_record(tmp_path / "record.json", tmp_path) == Record("boot-2", {}, ("/a",))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"before": [{}], "folders": []}', "null"])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    """The file and the next step are in the message."""
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(HugepagesError, match=r"record.json: found .* remove the file"):
        load_record(tmp_path / "record.json", tmp_path)
