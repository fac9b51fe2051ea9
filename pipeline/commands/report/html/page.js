"use strict";
// Draws the page's diagrams when they come into sight, and compares two results. Texts become text nodes, never HTML.

document.documentElement.classList.add("scripts");
const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = new Map(DATA.runs.map((run) => [run.id, run]));
const DARK = matchMedia("(prefers-color-scheme: dark)");
const TOUCH = matchMedia("(pointer: coarse)").matches;
const SERIES = {
  light: ["#0969da", "#bc4c00", "#1a7f37", "#8250df", "#9a6700", "#cf222e", "#0a7a8a", "#57606a"],
  dark: ["#58a6ff", "#f0883e", "#56d364", "#bc8cff", "#e3b341", "#ff8b84", "#5fd0df", "#9aa5b1"],
};
const drawn = new Map(); // how to draw each diagram that is in the page, by its element: again, when the colours change

const words = (key) => key.replaceAll("_", " ");
const color = (index) => { const series = SERIES[DARK.matches ? "dark" : "light"]; return series[index % series.length]; };
const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = (value) => (value === null || value === undefined ? "–" : Math.abs(value) >= 0.001 || value === 0 ? value.toFixed(3) : value.toPrecision(3));
// Two digits of a standard deviation, and as many decimals of its mean, as in the tables.
const withDeviation = (mean, deviation) => {
  if (!mean || !deviation) return `${short(mean)} ± ${short(deviation)}`;
  const decimals = Math.min(Math.max(1 - Number(deviation.toExponential(1).split("e")[1]), 0), 6);
  return `${mean.toFixed(decimals)} ± ${deviation.toFixed(decimals)}`;
};
// Plotly takes a few tags in texts for formatting.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function layout(options) {
  const grid = variable("--line");
  const axis = { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true };
  const { heading, xaxis = {}, yaxis = {}, ...rest } = options;
  return {
    font: { family: "system-ui, sans-serif", size: 13, color: variable("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 50, r: 12, t: heading ? 36 : 12, b: 40 }, height: 310, dragmode: TOUCH ? false : "zoom", hovermode: "closest",
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 }, title: { text: heading, font: { size: 14 }, x: 0, xref: "paper", xanchor: "left" },
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  };
}

function plot(target, make) {
  const draw = () => {
    const { traces, options } = make();
    target.ready = Plotly.react(target, traces, layout(options), { responsive: true, displaylogo: false, displayModeBar: false });
  };
  drawn.set(target, draw);
  draw();
}

function addPlot(box) {
  const target = element("div", { class: "plot" });
  box.append(target);
  return target;
}

// A diagram for each column of the histories that is no validation column: training dotted where there are several, validation solid.
function curves(box, runs) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.curves)))].filter((name) => name !== "epoch" && !name.startsWith("val_"));
  names.sort((one, other) => (one === "learning_rate") - (other === "learning_rate"));
  // All are in the page before the first is drawn, which takes the width that it has then.
  const targets = new Map(names.map((name) => [name, addPlot(box)]));
  const several = runs.length > 1, epochs = Math.max(...runs.map((run) => run.curves.epoch.length));
  for (const [name, target] of targets) {
    const isRate = name === "learning_rate", lines = isRate ? runs.length : 2 * runs.length;
    plot(target, () => ({
      traces: runs.flatMap((run, index) => [["", "training"], ["val_", "validation"]].filter(([prefix]) => run.curves[prefix + name]).map(([prefix, split]) => ({
        x: run.curves.epoch, y: run.curves[prefix + name], type: "scatter", mode: epochs < 20 ? "lines+markers" : "lines",
        name: plain([...(several ? [run.title] : []), ...(isRate ? [] : [split])].join(", ")),
        line: { color: color(several ? index : prefix ? 1 : 0), width: 2, dash: several && !prefix && !isRate ? "dot" : "solid" },
        hovertemplate: "epoch %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
      }))),
      options: {
        heading: words(name), height: 290 + (several || !isRate ? 20 * Math.ceil(lines / (target.clientWidth < 500 ? 1 : 3)) : 0), showlegend: several || !isRate,
        xaxis: { title: { text: "epoch" }, ...(epochs < 12 ? { dtick: 1 } : {}) }, yaxis: { rangemode: isRate ? "tozero" : "normal" },
      },
    }));
  }
}

const KINDS = {
  curves: (box, data) => curves(box, data.runs.map((id) => RUNS.get(id))),

  per_class: (box, data) => plot(addPlot(box), () => ({
    traces: [{ type: "bar", orientation: "h", x: data.scores, y: data.classes.map(plain), marker: { color: color(0) }, text: data.scores.map(short), textposition: "auto", insidetextfont: { color: DARK.matches ? "#0d1117" : "#ffffff" }, hovertemplate: "%{y}: %{x:.4f}<extra></extra>" }],
    options: { height: Math.max(300, 90 + 24 * data.classes.length), xaxis: { range: [0, 1], title: { text: words(data.measured) } }, yaxis: { type: "category", autorange: "reversed", dtick: 1 } },
  })),

  precision_recall: (box, data) => plot(addPlot(box), () => {
    const { recall, precision, ...classes } = data;
    const line = (name, y, style) => ({ x: recall, y, name: plain(name), type: "scatter", mode: "lines", line: style, hovertemplate: "recall %{x:.2f}, precision %{y:.3f}<extra>%{fullData.name}</extra>" });
    return {
      traces: [...Object.entries(classes).map(([name, y], index) => line(name, y, { width: 1, color: color(index + 1) })), line("mean", precision, { width: 4, color: color(0) })],
      options: { height: 420, xaxis: { range: [0, 1], title: { text: "recall" } }, yaxis: { range: [0, 1.02], title: { text: "precision" } } },
    };
  }),

  confusion: (box, data) => plot(addPlot(box), () => {
    const sums = data.counts.map((row) => row.reduce((sum, count) => sum + count, 0));
    const names = data.classes.map(plain);
    return {
      traces: [{
        type: "heatmap", x: names, y: names, z: data.counts.map((row, index) => row.map((count) => (sums[index] ? count / sums[index] : 0))), customdata: data.counts,
        zmin: 0, zmax: 1, xgap: 1, ygap: 1, showscale: false, colorscale: [[0, DARK.matches ? "#1b2838" : "#eef3fa"], [1, color(0)]],
        ...(names.length <= 21 ? { text: data.counts.map((row) => row.map((count) => (count ? String(count) : ""))), texttemplate: "%{text}" } : {}),
        hovertemplate: "%{y}, taken for %{x}: %{customdata} (%{z:.1%})<extra></extra>",
      }],
      options: { height: Math.max(320, Math.min(800, 120 + 28 * names.length)), xaxis: { type: "category", title: { text: "predicted" }, showgrid: false }, yaxis: { type: "category", autorange: "reversed", title: { text: "actual" }, showgrid: false } },
    };
  }),
};

const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    KINDS[target.dataset.kind](target, DATA.charts[target.dataset.chart]);
  }
}, { rootMargin: "800px" });
document.querySelectorAll("[data-chart]").forEach((box) => sight.observe(box));
DARK.addEventListener("change", () => drawn.forEach((draw) => draw()));

// Two results side by side.

function table(caption, columns, rows) {
  const head = element("tr", {}, ...columns.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...cells]) => element("tr", {}, element("th", { scope: "row" }, first), ...cells.map((text) => element("td", {}, text))));
  return element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body)));
}

const keysOf = (...mappings) => [...new Set(mappings.flatMap((mapping) => Object.keys(mapping)))];
const differing = (one, other) => keysOf(one, other).filter((key) => one[key] !== other[key]);
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + short(Math.abs(value));
const difference = (one, other) => (typeof one === "number" && typeof other === "number" ? signed(other - one) : "");

function changes(first, second) {
  const made = [element("h3", {}, "What changed")];
  const settings = differing(first.settings, second.settings).sort();
  const same = keysOf(first.settings, second.settings).length - settings.length;
  made.push(settings.length
    ? table(`Settings that differ; ${same} are the same`, ["setting", first.title, second.title], settings.map((key) => [key, first.settings[key] ?? "–", second.settings[key] ?? "–"]))
    : element("p", {}, `All ${same} settings are the same.`));
  const versions = differing(first.versions, second.versions).sort();
  if (versions.length) made.push(table("Versions and machine that differ", ["what", first.title, second.title], versions.map((key) => [words(key), first.versions[key] ?? "–", second.versions[key] ?? "–"])));
  const code = differing(first.code, second.code).sort();
  if (code.length) {
    const said = (run, key) => run.code[key] ?? "not run";
    made.push(element("details", {}, element("summary", {}, `Code that differs: ${code.length} files`), table("Code that differs, by digest", ["file", first.title, second.title], code.map((key) => [key, said(first, key), said(second, key)]))));
  }
  return made;
}

function moves(first, second) {
  const made = [element("h3", {}, "What moved")];
  const said = (run, key) => (key in run.deviations ? withDeviation(run.numbers[key], run.deviations[key]) : short(run.numbers[key]));
  const keys = keysOf(first.numbers, second.numbers);
  made.push(table("Figures of merit", ["metric", first.title, second.title, "difference"], keys.map((key) => [words(key), said(first, key), said(second, key), difference(first.numbers[key], second.numbers[key])])));
  const score = (row) => Object.values(row)[1];
  const others = new Map(second.per_class.map((row) => [row.class, row]));
  const shared = first.per_class.filter((row) => others.has(row.class));
  if (shared.length && Object.keys(shared[0])[1] === Object.keys(others.get(shared[0].class))[1]) {
    const rows = shared.map((row) => [row.class, short(score(row)), short(score(others.get(row.class))), difference(score(row), score(others.get(row.class)))]);
    made.push(element("details", {}, element("summary", {}, `Per class: ${words(Object.keys(shared[0])[1])}`), table("Per class", ["class", first.title, second.title, "difference"], rows)));
  }
  return made;
}

function compare(update) {
  const chosen = [first, second].map((select) => RUNS.get(select.value));
  for (const target of compared.querySelectorAll(".plot")) { drawn.delete(target); target.ready.then(Plotly.purge); }
  const box = element("div", { class: "plots" });
  const trained = chosen.filter((run) => Object.keys(run.curves).length);
  compared.replaceChildren(...changes(...chosen), ...moves(...chosen), ...(trained.length ? [element("h3", {}, "Curves"), box] : []));
  curves(box, trained);
  if (update) history.replaceState(null, "", `#compare=${chosen.map((run) => run.id).join(",")}`);
}

const [comparison, compared, first, second] = ["comparison", "compared", "first", "second"].map((id) => document.getElementById(id));

function choose(ids, update) {
  if (!ids.every((id) => RUNS.has(id))) return;
  [first.value, second.value] = ids;
  compare(update);
}

function chooseByAddress() {
  const match = /^#compare=([^,]+),([^,]+)$/.exec(decodeURIComponent(location.hash));
  if (match) { choose([match[1], match[2]], false); document.getElementById("compare").scrollIntoView(); }
}

if (RUNS.size > 1) {
  comparison.hidden = false;
  for (const select of [first, second]) for (const run of RUNS.values()) select.append(element("option", { value: run.id }, run.title));
  for (const select of [first, second]) select.addEventListener("change", () => compare(true));
  document.getElementById("swap").addEventListener("click", () => choose([second.value, first.value], true));
  for (const button of document.querySelectorAll("button.compare")) {
    button.addEventListener("click", () => { choose([button.dataset.first, button.dataset.second], true); document.getElementById("compare").scrollIntoView(); first.focus({ preventScroll: true }); });
  }
  choose([...RUNS.keys()].slice(0, 2), false);
  addEventListener("hashchange", chooseByAddress);
  chooseByAddress();
}
