# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's structure: order, honesty, escaping, self-containment. Looks are the browser's."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from typing import Any

import fake_runs
import pytest
from fake_host_states import SETTINGS, audited, host_state
from fake_runs import Lab, fake_run, manifest, row

from nvmelab.show.report import packed_plotly, render_html
from nvmelab.store.records import Run

EVIL = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Tags with their attributes, the text shown, and the cells of each table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._kind = ""
        self._table = ""
        self._quiet = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens a table, a line or a cell."""
        found = dict(attrs)
        self.tags.append((tag, found))
        self._quiet += tag in {"script", "style"}
        if tag == "table":
            self._table = found.get("id") or found.get("class") or "other"
            self.tables.setdefault(self._table, [])
        if tag == "tr":
            self.tables[self._table].append([])
        if tag in {"td", "th"}:
            self.tables[self._table][-1].append("")
            self._kind = "cell"

    def handle_endtag(self, tag: str) -> None:
        """Closes it."""
        self._quiet -= tag in {"script", "style"}
        if tag in {"td", "th"}:
            self._kind = ""

    def handle_data(self, data: str) -> None:
        """Keeps what a reader sees."""
        if self._quiet:
            return
        self.texts.append(data)
        if self._kind:
            self.tables[self._table][-1][-1] += data

    @property
    def text(self) -> str:
        """All that a reader sees, blanks folded."""
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def emulated() -> str:
    return render_html([fake_run()])


@pytest.fixture(scope="module")
def native() -> str:
    return render_html([fake_run(Lab(is_emulated=False))])


@pytest.fixture(scope="module")
def page() -> Page:
    """The report on an audited host: every point tainted, some more than others, one failed."""
    return Page(render_html([audited(fake_run(Lab(is_emulated=False, repetitions=5)))]))


def test_verdict_and_skips_come_before_numbers(emulated: str):
    """The verdict, its reasons and the skips stand before the first table of results."""
    verdict = emulated.index('<section id="verdict">')
    glance = emulated.index('<section id="glance">')
    assert verdict < emulated.index("no usable KVM", verdict) < glance
    assert verdict < emulated.index("has no device vfio-user-pci", verdict) < glance
    order = re.findall(r'<section id="([\w-]+)">', emulated)
    assert order[:5] == ["verdict", "glance", "plots", "results", "points"]
    assert order[5:] == ["host-condition", "conditions", "commands", "failed", "reading"]


def test_emulation_is_said_where_numbers_are(emulated: str, native: str):
    """Under TCG nothing is ranked and each part with numbers says why; under KVM none of it."""
    for section in ("verdict", "glance", "results"):
        start = emulated.index(f'<section id="{section}">')
        assert "TCG" in emulated[start : emulated.index("</section>", start)]
    assert "do not rank devices" in Page(emulated).text
    assert "rank" not in Page(emulated).tables["glance"][0]
    assert "do not rank" not in native
    assert Page(native).tables["glance"][0][0] == "rank"


def test_every_number_has_n_range_and_verdict(native: str):
    """In the table at a glance no line lacks n, range, or verdict."""
    head, *lines = Page(native).tables["glance"]
    places = [head.index(name) for name in ("IOPS", "[min–max]", "n", "clat p99", "verdict")]  # noqa: RUF001
    numbers = [line for line in lines if len(line) == len(head)]
    assert len(numbers) == 2 * len(fake_runs.STACKS)
    for line in numbers:
        iops, range_, n, p99, verdict = (line[place] for place in places)
        assert iops
        assert range_.startswith("[")
        assert n == "2"
        assert re.search(r"\d+ (ns|µs|ms)", p99)
        assert verdict == "clean✓✓"


def test_every_repetition_has_a_badge_that_leads_to_its_reasons(page: Page):
    """In the table at a glance n badges a line, each with its reasons and a line to lead to."""
    badges = [a for tag, a in page.tags if tag == "a" and "badge" in (a.get("class") or "")]
    assert len(badges) == 2 * 90  # at a glance and among all results
    ids = {a.get("id") for _, a in page.tags}
    for badge in badges:
        assert (badge["href"] or "").removeprefix("#") in ids
        assert badge["title"] == badge["aria-label"]
        assert "host-state" in (badge["title"] or "") or "failed" in (badge["title"] or "")
    outliers = [a for a in badges if a["class"] == "badge tainted own"]
    assert len(outliers) == 2 * 13
    assert all("4.2 %" in (a["title"] or "") for a in outliers)


def test_reasons_are_reachable_without_pointing(page: Page):
    """The line of a point has its reasons in full, and what moved beside them; so on paper too."""
    head, *lines = page.tables["points"]
    assert head[:2] == ["point", "stack"]
    assert len(lines) == 90
    reasons = [line[head.index("reasons")] for line in lines]
    assert sum("took 4.2 %" in text for text in reasons) == 13
    assert "io_u error" in reasons[-1]
    assert {"CPU frequency", "steal", "throttling"} <= set(head)
    assert "temperature" not in head


def test_results_can_be_filtered_by_verdict_and_reason(page: Page):
    """Every state and code is offered, a code both with and without; the lines carry them."""
    options = [a.get("value") for tag, a in page.tags if tag == "option"]
    assert {"+steal", "-steal", "+host-state", "-virtual-host"} <= set(options)
    lines = [a for tag, a in page.tags if tag == "tr" and "data-codes" in a]
    assert len(lines) == 18 + 90
    assert all("host-state" in json.loads(a["data-codes"] or "") for a in lines[:18])
    assert "reason_codes" in {a.get("data-key") for tag, a in page.tags if tag == "th"}


def test_host_condition_unfolds_what_is_not_as_asked(page: Page):
    """First the settings that differ or changed, then the others, then what moved."""
    differing, others = (
        [line for line in page.tables["settings"] if line[0] in names]
        for names in (
            {"cpupower.governor", "cpupower.boost", "kernel_cmdline", "quiet_host.ksm"},
            {"quiet_host.thp", "cpupower.energy_perf_bias", "cpupower.smt"},
        )
    )
    assert page.tables["settings"].index(differing[-1]) < page.tables["settings"].index(others[0])
    assert differing[0][:5] == [
        "cpupower.governor", "performance", "powersave", "the same", "not as asked",
    ]  # fmt: skip
    ksm = next(line for line in differing if line[0] == "quiet_host.ksm")
    assert ksm[2:5] == ["off", "on", "not as asked, changed"]
    assert "4 of 6 settings are not as asked, 1 changed during the run" in page.text
    assert [line[0].split()[0] for line in page.tables["moved"][1:]] == [
        "CPU", "throttlingtimes", "stealCPU", "load", "CPU",
    ]  # fmt: skip
    assert "Not measured on this host: temperature" in page.text


def test_a_run_that_was_not_audited_says_so(native: str):
    """An old record has its results as ever, and no condition that nobody looked at."""
    page = Page(native)
    assert "Not audited: this run was recorded by an nvmelab" in page.text
    assert "settings" not in page.tables
    off = render_html([Run.from_parts(manifest(tuning="off", host_state=None), [])])
    assert "Not audited: nvmelab_tuning was off" in Page(off).text


def test_settings_of_compared_runs_stand_beside_each_other():
    """Two runs under different governors are not like with like."""
    runs = [audited(fake_run(Lab(run_id=name, is_emulated=False))) for name in ("1-a", "2-b")]
    rows = [{**row, "effective": "performance"} if row["knob"] == "governor" else row
            for row in SETTINGS]  # fmt: skip
    runs[1].manifest["host_state"] = host_state(rows)
    text = Page(render_html(runs)).text
    assert "Not like with like" in text
    assert "cpupower.governor powersave performance" in text


def test_one_repetition_shows_no_range():
    """With n = 1 there is a value and no pretended spread, rank or difference."""
    page = Page(render_html([Run.from_parts(manifest(), [row(iops=1234.0)])]))
    head, _, line = page.tables["glance"]
    shown = dict(zip(head, line, strict=True))
    assert (shown["IOPS"], shown["[min–max]"], shown["n"]) == ("1.23 k", "", "1")  # noqa: RUF001
    assert (shown["rank"], shown["against the fastest"]) == ("", "")


def test_five_repetitions_show_the_interval():
    """From n = 5 on the table of all results has the bootstrap interval."""
    five = Page(render_html([fake_run(Lab(repetitions=5))])).tables["all"][0]
    two = Page(render_html([fake_run()])).tables["all"][0]
    assert set(five) - set(two) == {"CI low", "CI high"}


def test_not_measured_is_a_dash_not_zero():
    """A row without any measurement is shown, with no zero in it."""
    page = Page(render_html([Run.from_parts(manifest(), [row()])]))
    head, line = page.tables["all"]
    shown = dict(zip(head, line, strict=True))
    for name in ("IOPS", "min", "max", "bandwidth", "clat mean", "clat p50", "clat p99", "samples"):
        assert shown[name] in {"–", "-"}, name  # noqa: RUF001
    html = render_html([Run.from_parts(manifest(), [row()])])
    assert 'data-v="None"' not in html


def test_a_run_without_points_still_reports():
    """A failed run has a verdict, its reason and its failed points, and no plot."""
    failed = [{"id": "0001", "reason": "fio ended with status 1"}]
    html = render_html(
        [Run.from_parts(manifest(state="failed", reason="no fio", points_failed=failed), [])]
    )
    text = Page(html).text
    assert "failed" in text
    assert "no fio" in text
    assert "fio ended with status 1" in text
    assert "No point was measured." in text
    assert "application/gzip" not in html


def test_a_stack_whose_points_all_failed_has_its_lines():
    """One that was never measured has a look all the same, beside one that was."""
    run = Run.from_parts(manifest(state="partial"), [row(stack="good", iops=1.0)])
    failed = {
        "id": "0002",
        "stack": "bad",
        "workload": "w",
        "repetition": 1,
        "reason": "dead",
    }
    run.manifest["record"] = {"failed": [failed]}
    assert "dead" in Page(render_html([run])).text


def test_remarks_stand_with_the_verdict():
    """What was odd but no failure is told, and of a run without remarks nothing is."""
    said = "tgt: killed by SIGSEGV when it was asked to end"
    html = render_html([Run.from_parts(manifest(remarks=[said]), [row(iops=1.0)])])
    verdict = html[html.index('id="verdict"') : html.index('id="glance"')]
    assert f"remark: {said}" in verdict
    assert "remark" not in Page(render_html([Run.from_parts(manifest(), [row(iops=1.0)])])).text


def test_an_incomplete_run_is_not_clean():
    """A partial run whose points were clean is headed by its state, not by `clean`."""
    page = render_html([Run.from_parts(manifest(state="partial"), [row(iops=1.0)])])
    assert re.search(r'class="state">partial<', page)


def evil_run() -> Run:
    conditions: dict[str, Any] = {"before": {EVIL: EVIL, "cmdline": EVIL}, "after": {}}
    document = {"description": EVIL, "stacks": {EVIL: {"description": EVIL}}, "workloads": []}
    return Run.from_parts(
        manifest(
            host=EVIL, hostname=EVIL, run_id=EVIL, reason=EVIL, state=EVIL, conditions=conditions,
            experiment={"name": EVIL, "digest": EVIL}, skips=[{"stack": EVIL, "reason": EVIL}],
            verdict={"state": EVIL, "reasons": [{"code": EVIL, "text": EVIL}]},
            commands={EVIL: {EVIL: [EVIL, EVIL]}}, points_failed=[{"id": EVIL, "reason": EVIL}],
            record={"experiment": document, "fio_commands": {EVIL: [EVIL]},
                    "failed": [{"id": EVIL, "reason": EVIL, "stack": EVIL, "workload": EVIL}]},
            capabilities={"qemu": {"version": EVIL, "path": EVIL}, "guest_image": {"name": EVIL}},
            tuning=EVIL, host_state=host_state([dict.fromkeys(SETTINGS[0], EVIL)]),
        ),
        [row(host=EVIL, run_id=EVIL, stack=EVIL, workload=EVIL, rw=EVIL, bs=EVIL, ioengine=EVIL,
             direction=EVIL, verdict=EVIL, verdict_reasons=(f"{EVIL}: {EVIL}",), iops=1.0)],
    )  # fmt: skip


def test_nothing_from_a_record_becomes_markup():
    """Every text of a record set to markup: the page has the tags of a harmless one, no more."""
    evil = Page(render_html([evil_run(), evil_run()]))
    scripts = [tag for tag, _ in evil.tags if tag == "script"]
    assert len(scripts) == 4  # theme, figures, plotly, page
    assert not [name for _, attributes in evil.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in evil.text
    assert "<script>alert" not in render_html([evil_run()])


def test_page_asks_nothing_from_anywhere(emulated: str):
    """No element loads a file, and the policy would forbid it."""
    page = Page(emulated)
    loading = {"src", "srcset", "data", "poster", "action", "background"}
    assert not [(tag, a) for tag, a in page.tags if loading & set(a)]
    assert not [a for tag, a in page.tags if tag in {"link", "iframe", "object", "base", "form"}]
    links = [a["href"] or "" for tag, a in page.tags if tag == "a"]
    assert links
    assert all(link.startswith("#") for link in links)
    (policy,) = [
        a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy
    assert policy.startswith("default-src 'none';")


def test_without_scripts_nothing_useless_is_shown(emulated: str):
    """Controls that need a script are hidden until it runs; a word stands for the plots."""
    page = Page(emulated)
    folded = re.sub(r'<div class="tools"[^>]* hidden>.*?</div>', "", emulated, flags=re.DOTALL)
    buttons = [a for tag, a in Page(folded).tags if tag in {"button", "select"}]
    assert buttons
    assert all("hidden" in a for a in buttons)
    assert "The plots need JavaScript" in page.text


def test_every_link_has_a_target(emulated: str):
    """Links within the page lead somewhere."""
    page = Page(emulated)
    ids = {a.get("id") for _, a in page.tags}
    assert {(a["href"] or "#")[1:] for tag, a in page.tags if tag == "a"} <= ids


def test_plotly_travels_inside():
    """What the page unpacks is the plotly.js of this environment, byte for byte repeatable."""
    script = gzip.decompress(base64.b64decode(packed_plotly()))
    assert b"plotly.js" in script[:200]
    assert packed_plotly() == packed_plotly.__wrapped__()


def test_figures_have_a_place_each(emulated: str):
    """Each figure of the data has its element and the other way round."""
    page = Page(emulated)
    found = re.search(r'id="figures">(.*?)</script>', emulated)
    assert found
    ids = {a["id"] for tag, a in page.tags if a.get("class") == "plot"}
    assert set(json.loads(found[1])) == ids
    assert len(ids) == 3


def test_commands_can_be_pasted_into_a_shell(emulated: str):
    """The exact QEMU and fio commands are there, quoted for a shell."""
    text = Page(emulated).text
    assert "/usr/bin/qemu-system-x86_64 -machine q35,accel=tcg" in text
    assert "-append 'root=PARTUUID=1 console=ttyS0'" in text
    assert "point 0001, 0002" in text


def test_changed_conditions_stand_out():
    """A condition that differs after the run is counted and marked; load may move freely."""
    conditions = {
        "before": {"governor": "a", "load_1_min": 1},
        "after": {"governor": "b", "load_1_min": 2},
    }
    html = render_html([Run.from_parts(manifest(conditions=conditions), [])])
    assert "1 changed during the run" in html
    assert html.count('class="changed"') == 1


def test_runs_of_a_host_are_compared():
    """Two runs of one host: a comparison that says what differs, and what shows no difference."""
    runs = [
        fake_run(Lab(run_id="1-a", is_emulated=False)),
        fake_run(Lab(run_id="2-b", is_emulated=False, seed=2)),
    ]
    text = Page(render_html(runs)).text
    assert "Runs compared" in text
    assert "no difference shown" in text
    runs[1].manifest["conditions"]["before"]["kernel"] = "6.2"
    assert "Not like with like" in Page(render_html(runs)).text


def test_hosts_are_grouped(native: str):
    """Several hosts stand each under their own heading; one host needs no column for it."""
    runs = [fake_run(Lab(host=host)) for host in ("lab-2", "lab-1")]
    page = Page(render_html(runs))
    assert page.tables["all"][0][0] == "host"
    assert page.text.index("lab-1 ·") < page.text.index("lab-2 ·")
    assert "host" not in Page(native).tables["all"][0]


def test_same_runs_give_the_same_page():
    """Rendering reads no clock and no chance: the page can be compared and cached."""
    assert render_html([fake_run()]) == render_html([fake_run()])
