# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as one self-contained HTML page: no file beside it, no request to anywhere.

Pure: text out; who writes it is the caller. Plotly travels inside, packed, and is unpacked by the
page after its tables are shown: 2 MB instead of 4.8, and nothing waits for it.
"""

from __future__ import annotations

import base64
import functools
import gzip
import math
import shlex
from importlib import resources
from typing import TYPE_CHECKING

import jinja2

from nvmelab import __version__, skips, units
from nvmelab.show import (
    background,
    conditions,
    host_state,
    layer_rules,
    movement,
    points,
    ranking,
    report_rows,
    scaling,
    scaling_plot,
    staircase,
    stats,
    wording,
)
from nvmelab.show.plots import Styles, figures
from nvmelab.show.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nvmelab.show.plots import Figure
    from nvmelab.show.summary import Cell, HostSummary, PanelKey, RunSummary
    from nvmelab.store.records import Run

    _Scaled = tuple[scaling.Scaling, Figure]

# Nothing but what is in the page; data: and blob: are Plotly's own pictures.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data: blob:; base-uri 'none'; form-action 'none'"
)

# More points than this wait folded, so that what follows them is not a long way off.
_OPEN_POINTS = 20


def render_html(runs: Sequence[Run]) -> str:
    """Return the report on these runs, of one or several hosts; at least one run.

    Everything that comes from a run is escaped: names and texts of a record are not trusted.
    """
    hosts = summarise(runs)
    styles = Styles(hosts)
    scaled = {run.place: _scalings(run) for host in hosts for run in host.runs}
    drawn = _figures(hosts, styles, scaled)
    every = [figure for made in drawn.values() for figure in made]
    every += [figure for made in scaled.values() for _, figure in made]
    for place, figure in enumerate(every):
        figure["id"] = f"plot-{place}"
    columns, lines = report_rows.columns(hosts), report_rows.lines(hosts)
    return _template().render(
        hosts=hosts,
        title=_title(hosts),
        styles=styles,
        figures=drawn,
        figure_data={f["id"]: {"data": f["data"], "layout": f["layout"]} for f in every},
        columns=columns,
        lines=lines,
        filters=report_rows.filters(hosts),
        constants=report_rows.constants(columns, lines),
        stack_paths=conditions.stack_paths(runs),
        staircases={run.place: staircase.staircases(run) for host in hosts for run in host.runs},
        scalings=scaled,
        plotly_gzip=packed_plotly() if every else "",
        policy=CONTENT_SECURITY_POLICY,
        css=_asset("report.css"),
        js=_asset("report.js"),
        version=__version__,
        is_emulated=any(run.is_emulated for host in hosts for run in host.runs),
    )


def _figures(
    hosts: Sequence[HostSummary], styles: Styles, scaled: Mapping[int, Sequence[_Scaled]]
) -> dict[tuple[str, PanelKey], list[Figure]]:
    """Return the figures by host and workload; scalings have figures of their own."""
    left_out = scaling.inner_sizes(one for made in scaled.values() for one, _ in made)
    return {
        (host.host, panel): figures(host, panel, styles, left_out)
        for host in hosts
        for panel in host.panels
    }


def _scalings(run: RunSummary) -> list[_Scaled]:
    """Return every scaling of the run with its figure."""
    found = scaling.scalings(run)
    return [(one, scaling_plot.figure(one, is_emulated=run.is_emulated)) for one in found]


@functools.cache
def packed_plotly() -> str:
    """Return plotly.js, gzipped and in base64, from the plotly package of this environment."""
    script = resources.files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode("ascii")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nvmelab.show"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"iops": units.iops, "ns": units.ns, "argv": shlex.join}
    environment.globals |= {
        "ranking": ranking,
        "wording": wording,
        "conditions": conditions,
        "units": units,
        "skips": skips,
        "PATH_PARTS": conditions.PATH_PARTS,
        "comparison": comparison,
        "noise_percent": noise_percent,
        "bar_scale": bar_scale,
        "verdict_state": verdict_state,
        "host_state": host_state,
        "movement": movement,
        "staircase": staircase,
        "layer_rules": layer_rules,
        "shared_by_place": background.told_by_place,
        "marks": points.MARKS,
        "open_points": _OPEN_POINTS,
    }
    return environment.get_template("report.html.j2")


def _title(hosts: Sequence[HostSummary]) -> str:
    said = [run.run.manifest.get("experiment") or {} for host in hosts for run in host.runs]
    names = ", ".join(dict.fromkeys(str(one.get("name", "unnamed")) for one in said))
    return f"{names} on {hosts[0].host if len(hosts) == 1 else f'{len(hosts)} hosts'}"


def _asset(name: str) -> str:
    return resources.files("nvmelab.show").joinpath("templates", name).read_text("utf-8")


def verdict_state(run: RunSummary) -> str:
    """Return how the run is judged in one word: an incomplete run is not clean."""
    state = str(run.run.verdict["state"])
    return run.run.state if state == "clean" and run.run.state != "complete" else state


def bar_scale(depth: ranking.Depth) -> float:
    """Return the IOPS at which a bar ends: the greatest of the stacks, ceilings left out."""
    spreads = [s.cell.iops for s in depth.standings if s.cell.iops and not s.is_ceiling]
    return max((spread.high for spread in spreads), default=0.0)


def noise_percent(run: RunSummary, cells: Sequence[Cell]) -> float | None:
    """Return below how many percent two of the cells are taken as equal; ``None``: not known."""
    n = min((cell.n for cell in cells if cell.n > 1), default=0)
    if run.noise is None or not n:
        return None
    return 100 * math.expm1(run.noise.floor(n, n))


def comparison(
    host: HostSummary, panel: PanelKey
) -> list[tuple[Cell, list[Cell | None], stats.Difference | None]]:
    """Return (any cell, the cell of each run, last against first run) for each stack and depth."""
    by_run = [
        {(c.inflight_count, c.stack): c for c in run.cells if c.panel == panel} for run in host.runs
    ]
    keys = dict.fromkeys(key for cells in by_run for key in cells)
    found = []
    for key in keys:
        cells = [cells.get(key) for cells in by_run]
        known = [cell for cell in cells if cell]
        found.append((known[0], cells, _last_to_first(cells, host.runs)))
    return found


def _last_to_first(
    cells: Sequence[Cell | None], runs: Sequence[RunSummary]
) -> stats.Difference | None:
    first, last = cells[0], cells[-1]
    if not (first and last and first.iops and last.iops):
        return None
    noises = [run.noise for run in (runs[0], runs[-1]) if run.noise]
    noise = max(noises, key=lambda noise: noise.sd, default=None)
    return stats.difference(last.iops, first.iops, noise)
