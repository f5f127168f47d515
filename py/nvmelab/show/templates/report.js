// SPDX-License-Identifier: GPL-3.0-or-later
// The page is whole without this file, but for the plots. Nothing here asks the network.
"use strict";
const find = (selector) => document.querySelector(selector);
const findAll = (selector) => [...document.querySelectorAll(selector)];

// --- plots -------------------------------------------------------------------------------------
const figures = JSON.parse(find("#figures").textContent);
const probe = document.createElement("i");
document.body.append(probe);

// Custom properties hold light-dark(); only a used colour is resolved.
function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function themedTrace(trace) {
  const { style, ceiling } = trace.meta;
  const own = colour(ceiling ? "ceiling" : `c${style % 8}`);
  const size = trace.marker.size ?? 8;
  return {
    ...trace,
    line: { ...trace.line, color: own },
    marker: { ...trace.marker, color: own, size, opacity: 1, line: { width: 0 } },
    error_y: trace.error_y && { ...trace.error_y, color: own },
  };
}

function themedLayout(layout) {
  const fg = colour("fg"), muted = colour("muted"), grid = colour("grid"), bg = colour("bg");
  const themed = {
    ...layout,
    paper_bgcolor: bg,
    plot_bgcolor: bg,
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: fg },
    margin: { l: 70, r: 10, t: 44, b: 46 }, // above: the buttons, then headings
    legend: { font: { size: 12 }, itemsizing: "constant", tracegroupgap: 0, x: 1.01 },
    hoverlabel: { align: "left", bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: fg } },
    hovermode: "closest",
  };
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
    themed[name] = { automargin: true, gridcolor: grid, linecolor: muted, showline: true, ticks: "outside",
      tickcolor: muted, zerolinecolor: grid, ...layout[name] };
  }
  themed.annotations = (layout.annotations ?? []).map((note) =>
    ({ ...note, font: { size: 12, color: note.meta === "warning" ? colour("bad") : fg } }));
  return themed;
}

// Axes from 0 are those whose scale can be turned.
function logScaled(layout) {
  const turned = Object.entries(layout).filter(([, axis]) => axis.rangemode === "tozero");
  return Object.fromEntries(turned.map(([name, axis]) => [name, { ...axis, type: "log", rangemode: "normal" }]));
}

function draw(plot, size = {}) {
  const { data, layout } = figures[plot.id];
  const pressed = find(`.scale[data-plot="${plot.id}"]`)?.getAttribute("aria-pressed") === "true";
  const scaled = pressed ? { ...layout, ...logScaled(layout) } : layout;
  // Plotly offers by default to upload the plot; this page sends nothing.
  const config = { displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtonsToRemove: ["sendChartToCloud", "lasso2d", "select2d"],
    toImageButtonOptions: { filename: `nvmelab-${plot.id}`, scale: 2 } };
  return Plotly.react(plot, data.map(themedTrace), { ...themedLayout(scaled), ...size }, config);
}

const drawAll = (size) => findAll(".plot").forEach((plot) => draw(plot, size));

async function unpackPlotly() {
  const packed = find("#plotly");
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  packed.remove();
  document.head.append(script);
}

async function showPlots() {
  const plots = findAll(".plot");
  if (!plots.length) return;
  plots.forEach((plot) => plot.classList.add("waiting"));
  try {
    await unpackPlotly();
  } catch (error) {
    plots.forEach((plot) => { plot.textContent = `The plots cannot be drawn by this browser: ${error}`; });
    throw error;
  } finally {
    plots.forEach((plot) => plot.classList.remove("waiting"));
  }
  for (const plot of plots) {
    await draw(plot);
    await new Promise((resume) => setTimeout(resume)); // lets the reader scroll meanwhile
  }
  findAll(".scale").forEach((button) => { button.hidden = false; });
  document.documentElement.dataset.plots = "drawn";
}

findAll(".scale").forEach((button) => button.addEventListener("click", () => {
  button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
  draw(document.getElementById(button.dataset.plot));
}));

// --- theme and paper -----------------------------------------------------------------------------
const isDrawn = () => document.documentElement.dataset.plots === "drawn";
const dark = matchMedia("(prefers-color-scheme: dark)");
find("#theme").hidden = false;
find("#theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try { localStorage.setItem("nvmelab-theme", root.dataset.theme); } catch { /* only not remembered */ }
  if (isDrawn()) drawAll();
});
dark.addEventListener("change", () => isDrawn() && drawAll());

let before = null;
addEventListener("beforeprint", () => {
  const closed = findAll("details:not([open])");
  before = { theme: document.documentElement.dataset.theme, closed };
  closed.forEach((one) => { one.open = true; });
  document.documentElement.dataset.theme = "light";
  // A4 landscape within its margins: 273 mm at 96 px an inch.
  if (isDrawn()) drawAll({ width: 1030, autosize: false });
});
addEventListener("afterprint", () => {
  if (!before) return;
  before.closed.forEach((one) => { one.open = false; });
  document.documentElement.dataset.theme = before.theme;
  if (isDrawn()) drawAll({ autosize: true });
});

// --- tables and copying ----------------------------------------------------------------------------
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not allowed for files in some browsers
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const said = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = said; }, 1500);
}

findAll(".copy").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => copy(button.nextElementSibling.textContent, button));
});

const rows = findAll("#all tbody tr");
const pointRows = findAll(".points tbody tr");
const heads = findAll("#all thead th");

// A reason is chosen as "+code" or "-code": with it, or without it.
function isChosen(row) {
  const [stack, verdict, reason] = ["stack", "verdict", "reason"].map((name) => find(`#filter-${name}`).value);
  const has = (list, word) => JSON.parse(list).includes(word);
  return (!stack || row.dataset.stack === stack) && (!verdict || has(row.dataset.verdicts, verdict))
    && (!reason || has(row.dataset.codes, reason.slice(1)) === (reason[0] === "+"));
}

function filter() {
  const counts = [rows, pointRows].map((all) => {
    all.forEach((row) => { row.hidden = !isChosen(row); });
    return `${all.filter((row) => !row.hidden).length} of ${all.length}`;
  });
  find("#shown").textContent = `${counts[0]} lines, ${counts[1]} points`;
}

function sortBy(place) {
  const rising = heads[place].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[place].setAttribute("aria-sort", rising ? "ascending" : "descending");
  const value = (row) => row.cells[place].dataset.v;
  const isNumber = heads[place].classList.contains("num");
  const order = (one, other) => isNumber ? one - other : one.localeCompare(other);
  rows.sort((one, other) => {
    const [left, right] = [value(one), value(other)];
    if (left === "" || right === "") return (left === "") - (right === ""); // not measured: last
    return rising ? order(left, right) : order(right, left);
  });
  find("#all tbody").append(...rows);
}

function csv() {
  const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const shown = rows.filter((row) => !row.hidden);
  return [heads.map((head) => head.dataset.key), ...shown.map((row) => [...row.cells].map((cell) => cell.dataset.v))]
    .map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

// --- badges --------------------------------------------------------------------------------------
// One stop of the tabulator for the repetitions of a cell; arrows go from one to the next.
findAll(".badges").forEach((group) => {
  const badges = [...group.children];
  badges.slice(1).forEach((badge) => { badge.tabIndex = -1; });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = badges[badges.indexOf(event.target) + step];
    if (step) event.preventDefault();
    next?.focus();
  });
});

// What the pointer reads in a badge's title, the keyboard reads beside the badge.
const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
document.body.append(tip);
addEventListener("focusin", ({ target }) => {
  tip.hidden = !target.matches(".badge:focus-visible");
  if (tip.hidden) return;
  tip.textContent = target.title;
  const { left, bottom, top } = target.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${bottom + tip.offsetHeight + 8 < innerHeight ? bottom + 4 : top - tip.offsetHeight - 4}px`;
});
addEventListener("focusout", () => { tip.hidden = true; });
addEventListener("scroll", () => { tip.hidden = true; });
addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

// A badge leads to its point, also where that is folded away or filtered out.
function reveal() {
  const row = location.hash.startsWith("#point-") && document.getElementById(location.hash.slice(1));
  if (!row) return;
  row.hidden = false;
  row.closest("details").open = true;
  row.scrollIntoView({ block: "center" });
}
addEventListener("hashchange", reveal);

heads.forEach((head, place) => {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: head.textContent });
  head.replaceChildren(button);
  button.addEventListener("click", () => sortBy(place));
});
find("#filters").hidden = false;
["#filter-stack", "#filter-verdict", "#filter-reason"].forEach((selector) => find(selector).addEventListener("change", filter));
find("#csv").addEventListener("click", (event) => copy(csv(), event.target));
filter();
reveal();
showPlots();
