# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real browser: drawn, quiet, and sending nothing anywhere.

Chromium is driven by its command line alone: it prints the page as it stands after its scripts
have run, what the console said, and a log of every request.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_host_states import audited
from fake_runs import Lab, fake_run
from fake_scaling import scaling_run, swept

from nvmelab.show.report import render_html

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
    # The browser itself calls home; nothing of it shall leave, and the page's attempts show alike.
    "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=30000",
)  # fmt: skip
DEADLINE_S = 120
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium"),
]


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page."""

    dom: str
    console: list[str]
    requests: list[str]

    @property
    def plot_count(self) -> int:
        """How many plots Plotly has drawn (each with several layers)."""
        return len(re.findall(r'class="plot js-plotly-plot"', self.dom))

    @property
    def found(self) -> dict[str, Any]:
        """What a script of the test left in the page."""
        told = re.search(r'data-found="([^"]*)"', self.dom)
        assert told, "the test's script did not end"
        values: dict[str, Any] = json.loads(told[1].replace("&quot;", '"'))
        return values


def visit(html: str | Path, folder: Path, *flags: str) -> Visit:
    """Open the page in a browser of its own and wait until its scripts rest."""
    page = html if isinstance(html, Path) else folder / "page.html"
    if isinstance(html, str):
        page.write_text(html, encoding="utf-8")
    log = folder / "net-log.json"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, *sandbox, f"--user-data-dir={folder / 'profile'}",
         f"--log-net-log={log}", *flags, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=DEADLINE_S,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(done.stdout, console, page_requests(json.loads(log.read_text("utf-8"))))


def page_requests(log: dict[str, Any]) -> list[str]:
    """Return the URLs that pages asked for; the browser's own have no origin."""
    names = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    started = [
        event["params"]
        for event in log["events"]
        if names[event["type"]] == "URL_REQUEST_START_JOB" and "url" in event.get("params", {})
    ]
    return [one["url"] for one in started if one.get("initiator") != "not an origin"]


def with_script(html: str, script: str) -> str:
    """Return the page with a script that runs once the plots are drawn; its result is `found`."""
    code = f"""<script>
    new MutationObserver(async (_, self) => {{
      if (document.documentElement.dataset.plots !== "drawn") return;
      self.disconnect();
      const found = await (async () => {{ {script} }})();
      document.body.dataset.found = JSON.stringify(found);
    }}).observe(document.documentElement, {{ attributes: true }});
    </script></head>"""
    return html.replace("</head>", code, 1)


@pytest.fixture(scope="module")
def report() -> str:
    """A report with two workloads, both directions, four depths and five repetitions."""
    loads = (("randread-4k", "randread", "4k"), ("mixed-16k", "randrw", "16k"))
    lab = Lab(is_emulated=False, depths=(1, 4, 16, 64), repetitions=5, workloads=loads)
    return render_html([fake_run(lab)])


@pytest.fixture(scope="module")
def visited(report: str, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """That report as a reader opens it."""
    return visit(report, tmp_path_factory.mktemp("visit"))


@pytest.fixture(scope="module")
def condition() -> str:
    """A report on an audited host: every point tainted, 13 of 90 for steal besides, one failed."""
    return render_html([audited(fake_run(Lab(is_emulated=False, repetitions=5)))])


def test_every_plot_is_drawn(report: str, visited: Visit):
    """Three figures for each of the three panels, each with curves in it."""
    assert visited.plot_count == report.count('<div class="plot"') == 9
    assert visited.dom.count('class="main-svg"') >= 9
    assert visited.dom.count("<path") > 100
    assert 'data-plots="drawn"' in visited.dom


def test_the_console_stays_empty(visited: Visit):
    """No error, no warning, no violation of the page's policy."""
    assert visited.console == []


def test_no_request_leaves_the_page(visited: Visit):
    """The page asks for nothing, and offers no button that would send it."""
    assert visited.requests == []
    buttons = set(re.findall(r'class="modebar-btn[^>]*data-title="([^"]*)"', visited.dom))
    assert "Reset axes" in buttons
    sending = re.compile("share|send|cloud|edit", re.IGNORECASE)
    assert not [title for title in buttons if sending.search(title)]


def test_the_witnesses_can_tell(tmp_path: Path):
    """A page that asks for a picture and complains is caught by the same witnesses."""
    bad = '<img src="https://nvmelab.invalid/x.png"><script>console.error("boom")</script>'
    seen = visit(bad, tmp_path)
    assert seen.requests == ["https://nvmelab.invalid/x.png"]
    assert any("boom" in line for line in seen.console)


def test_the_policy_stops_what_would_slip_in(report: str, tmp_path: Path):
    """A picture from elsewhere, put into the report, is not asked for, and the console says so."""
    seen = visit(
        report.replace("<main>", '<main><img src="https://nvmelab.invalid/x.png">'), tmp_path
    )
    assert seen.requests == []
    assert any("Content Security Policy" in line for line in seen.console)


def test_theme_changes_page_and_plots(report: str, tmp_path: Path):
    """The button turns the page dark, its plots too, and back."""
    script = """
      const look = () => [getComputedStyle(document.body).backgroundColor,
                          document.querySelector(".main-svg").style.background];
      const before = look();
      document.querySelector("#theme").click(); await new Promise((r) => setTimeout(r, 500));
      const dark = look();
      document.querySelector("#theme").click(); await new Promise((r) => setTimeout(r, 500));
      return { before, dark, after: look() };"""
    found = visit(with_script(report, script), tmp_path).found
    assert found["before"] == found["after"] == ["rgb(255, 255, 255)"] * 2
    assert found["dark"] == ["rgb(20, 23, 28)"] * 2


def test_scaling_is_drawn_and_turned_to_logarithms(tmp_path: Path):
    """Proportion and two lines; the button turns both axes, the others' only IOPS, and back."""
    stacks = {"spdk": swept(server_cores=[1, 2], devices=[1, 2, 4, 24])}
    page = render_html([scaling_run(stacks, noise=0.02, depths=(1, 16))])
    script = """
      const [plot, other] = ["#scaling .plot", "#plots .plot"]
        .map((place) => document.querySelector(place));
      const press = async (of) => { document.querySelector(`[data-plot="${of.id}"]`).click();
        await new Promise((r) => setTimeout(r, 300)); };
      const axes = (of) => [of.layout.xaxis.type, of.layout.yaxis.type];
      const before = axes(plot);
      await press(plot); const turned = axes(plot);
      await press(plot); const after = axes(plot);
      await press(other);
      return { before, turned, after, other: axes(other), lines: plot.data.length,
        drawn: plot.querySelectorAll(".scatterlayer .trace").length };"""
    seen = visit(with_script(page, script), tmp_path)
    assert seen.found == {
        "before": ["linear", "linear"], "turned": ["log", "log"], "after": ["linear", "linear"],
        "other": ["linear", "log"], "lines": 3, "drawn": 3,
    }  # fmt: skip
    assert seen.console == []


def test_table_sorts_filters_and_copies(report: str, tmp_path: Path):
    """Sorting is by number, a filter hides the others, CSV is what is shown, in full numbers."""
    script = """
      const heads = [...document.querySelectorAll("#all thead th")];
      const place = heads.findIndex((head) => head.dataset.key === "iops_median");
      const lines = () => [...document.querySelectorAll("#all tbody tr")];
      const values = () => lines().map((line) => +line.cells[place].dataset.v);
      heads[place].querySelector("button").click(); const rising = values();
      heads[place].querySelector("button").click(); const falling = values();
      const stack = document.querySelector("#filter-stack");
      stack.value = "virtio-scsi"; stack.dispatchEvent(new Event("change"));
      const shown = lines().filter((line) => !line.hidden).length;
      return { rising, falling, shown, csv: csv() };"""
    found = visit(with_script(report, script), tmp_path).found
    assert found["rising"] == sorted(found["rising"])
    assert found["falling"] == found["rising"][::-1]
    assert found["shown"] == 12  # 4 depths of 3 directions
    head, *lines = found["csv"].splitlines()
    assert len(lines) == 12
    assert "iops_median" in head.split(",")
    assert all("virtio-scsi" in line for line in lines)


def test_results_filter_by_verdict_and_reason(condition: str, tmp_path: Path):
    """A reason with, without and together with a verdict: lines and points alike, and back."""
    script = """
      const choose = (name, value) => { const select = document.querySelector(`#filter-${name}`);
        select.value = value; select.dispatchEvent(new Event("change")); };
      const count = (where) => [...document.querySelectorAll(`${where} tbody tr`)]
        .filter((line) => !line.hidden).length;
      const told = () => document.querySelector("#shown").textContent;
      const counts = () => [count("#all"), count(".points"), told()];
      const found = { all: counts() };
      choose("reason", "+steal"); found.steal = counts();
      choose("reason", "-steal"); found.calm = counts();
      choose("reason", ""); choose("verdict", "failed"); found.failed = counts();
      choose("reason", "-failed"); found.none = counts();
      choose("reason", ""); choose("verdict", ""); found.after = counts();
      return found;"""
    seen = visit(with_script(condition, script), tmp_path)
    assert seen.found == {
        "all": [18, 90, "18 of 18 lines, 90 of 90 points"],
        "steal": [12, 13, "12 of 18 lines, 13 of 90 points"],
        "calm": [6, 77, "6 of 18 lines, 77 of 90 points"],
        "failed": [1, 1, "1 of 18 lines, 1 of 90 points"],
        "none": [0, 0, "0 of 18 lines, 0 of 90 points"],
        "after": [18, 90, "18 of 18 lines, 90 of 90 points"],
    }
    assert seen.console == []
    assert seen.requests == []


def test_badges_are_read_by_keyboard(condition: str, tmp_path: Path):
    """One stop a cell, arrows to the next badge, its reasons beside it; Escape takes them away."""
    script = """
      const group = document.querySelector("#glance .badges"), [first, second] = group.children;
      const stops = group.querySelectorAll('a:not([tabindex="-1"])').length;
      const press = (key, at) =>
        at.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      const tip = document.querySelector("#tip");
      const shown = () => tip.hidden ? "" : tip.textContent;
      const before = shown();
      first.focus({ focusVisible: true }); press("ArrowRight", first);
      const moved = document.activeElement === second, told = shown();
      const { left, right, top, bottom } = tip.getBoundingClientRect();
      const inside = left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
      press("Escape", second); const after = shown();
      press("ArrowLeft", second); press("ArrowLeft", first);
      const back = document.activeElement === first;
      return { stops, before, moved, told, inside, after, back };"""
    found = visit(with_script(condition, script), tmp_path).found
    told = found.pop("told")
    assert found == {"stops": 1, "before": "", "moved": True, "inside": True, "after": "",
                     "back": True}  # fmt: skip
    assert told.startswith("repetition 2, point ")
    assert "the hypervisor took 4.2 %" in told


def test_a_badge_leads_to_its_point(condition: str, tmp_path: Path):
    """Points that are folded away and filtered out come to sight when a badge is followed."""
    script = """
      const badge = document.querySelector("#glance .badge.failed");
      const row = document.querySelector(badge.getAttribute("href"));
      document.querySelector("#filter-verdict").value = "tainted"; filter();
      const seen = () => ({ open: row.closest("details").open, hidden: row.hidden });
      const before = seen();
      badge.click(); await new Promise((resume) => setTimeout(resume, 500));
      const place = row.getBoundingClientRect();
      return { before, after: seen(), inView: place.top >= 0 && place.bottom <= innerHeight,
        text: row.textContent };"""
    found = visit(with_script(condition, script), tmp_path).found
    assert found["before"] == {"open": False, "hidden": True}
    assert found["after"] == {"open": True, "hidden": False}
    assert found["inView"]
    assert "io_u error" in found["text"]


def test_paper_is_light_and_open(report: str, tmp_path: Path):
    """Printing opens what is folded, turns to light, fits the plots; then all is as before."""
    script = """
      const widths = () => [...document.querySelectorAll(".plot .main-svg")]
        .map((svg) => +svg.getAttribute("width"));
      const state = () => ({ closed: document.querySelectorAll("details:not([open])").length,
        background: getComputedStyle(document.body).backgroundColor,
        width: Math.max(...widths()) });
      document.querySelector("#theme").click();
      const before = state();
      dispatchEvent(new Event("beforeprint")); const paper = state();
      dispatchEvent(new Event("afterprint")); await new Promise((r) => setTimeout(r, 500));
      return { before, paper, after: state() };"""
    seen = visit(with_script(report, script), tmp_path, "--window-size=1400,1000")
    before, paper, after = (seen.found[key] for key in ("before", "paper", "after"))
    assert paper["closed"] == 0
    assert before["closed"] > 0
    assert paper["background"] == "rgb(255, 255, 255)"
    assert paper["width"] <= 1047  # A4 landscape within its margins, in CSS pixels
    assert after == before


@pytest.mark.guest
def test_report_of_a_real_run(tiny_run: dict[str, Any], tmp_path: Path):
    """What the main job wrote after measuring in a real guest is drawn as quietly."""
    seen = visit(Path(tiny_run["report"]), tmp_path)
    assert seen.plot_count >= 2
    assert seen.console == []
    assert seen.requests == []
