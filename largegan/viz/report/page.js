"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const COLORS = ["#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#06b6d4", "#ec4899",
  "#84cc16", "#b45309", "#64748b"];
const ILL = ["#ef4444", "#a855f7", "#f97316", "#db2777", "#ca8a04", "#0d9488", "#6366f1", "#78716c"];
const verdicts = [...new Set(data.bands.map(band => band.verdict))];
const several = data.runs.length > 1;
const plots = [];
const color = i => COLORS[i % COLORS.length];
const illColor = verdict => ILL[Math.max(verdicts.indexOf(verdict), 0) % ILL.length];
const clear = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
const make = (tag, set = {}, ...inside) => {
  const element = Object.assign(document.createElement(tag), set);
  element.append(...inside);
  return element;
};

// Light or dark: as the system has it, until somebody chooses.
const night = matchMedia("(prefers-color-scheme: dark)");
let chosen = null;
const dark = () => chosen === null ? night.matches : chosen;
function setTheme() {
  root.dataset.theme = dark() ? "dark" : "light";
  plots.forEach(plot => Plotly.relayout(plot, inks()));
}
function inks() {
  const of = name => getComputedStyle(root).getPropertyValue(name).trim();
  return {
    "font.color": of("--quiet"), "xaxis.gridcolor": of("--line"), "yaxis.gridcolor": of("--line"),
    "hoverlabel.bgcolor": of("--card"), "hoverlabel.font.color": of("--ink"),
    "hoverlabel.bordercolor": of("--line"),
  };
}
document.getElementById("theme").onclick = () => { chosen = !dark(); setTheme(); };
night.addEventListener("change", setTheme);
root.dataset.theme = dark() ? "dark" : "light";

// Charts.
function traces(chart) {
  return chart.curves.flatMap((curve, i) => {
    const ink = color(several ? curve.run : i);
    const line = {
      x: curve.x, y: curve.y, name: curve.label, mode: "lines", legendgroup: i,
      line: { color: ink, width: 1.8 }, hovertemplate: "%{y:.4~g}", connectgaps: false,
    };
    if (curve.x.length < (chart.kind === "points" ? 60 : 2)) line.mode = "lines+markers";
    if (curve.error.length) {
      line.error_y = { type: "data", array: curve.error, color: clear(ink, 0.6), thickness: 1.2, width: 3 };
      line.customdata = curve.error;
      line.hovertemplate = "%{y:.4~g} ± %{customdata:.2~g}";
    }
    if (chart.kind === "areas") {
      Object.assign(line, { stackgroup: "one", fillcolor: clear(ink, 0.45) });
      line.line.width = 0.8;
    }
    if (!curve.low.length || chart.kind === "areas") return [line];
    line.customdata = curve.low.map((low, k) => [low, curve.high[k]]);
    line.hovertemplate = "%{y:.4~g} (%{customdata[0]:.3~g} to %{customdata[1]:.3~g})";
    const edge = { x: curve.x, mode: "lines", line: { width: 0 }, hoverinfo: "skip",
      showlegend: false, legendgroup: i };
    return [{ ...edge, y: curve.low },
      { ...edge, y: curve.high, fill: "tonexty", fillcolor: clear(ink, 0.18) }, line];
  });
}
function shapes() {
  return data.bands.map(band => ({
    type: "rect", xref: "x", yref: "paper", x0: band.begin, x1: band.end, y0: 0, y1: 1,
    fillcolor: illColor(band.verdict), opacity: 0.13, line: { width: 0 }, layer: "below",
  }));
}
function layout(chart) {
  const ink = inks();
  const axis = { zeroline: false, linecolor: "transparent", gridcolor: ink["xaxis.gridcolor"] };
  return {
    margin: { l: 48, r: 10, t: 10, b: 26 }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: ink["font.color"] },
    hoverlabel: { bgcolor: ink["hoverlabel.bgcolor"], bordercolor: ink["hoverlabel.bordercolor"],
      font: { color: ink["hoverlabel.font.color"] } },
    hovermode: "x unified", dragmode: "zoom", shapes: shapes(), hoverdistance: -1,
    showlegend: false,
    xaxis: { ...axis, range: [0, end], tickformat: "~s", hoverformat: ",d", nticks: 7,
      unifiedhovertitle: { text: "%{x:,d} images" } },
    yaxis: { ...axis, ...scale(chart, chart.log && positive(chart)),
      tickformat: chart.percent ? ".2~%" : "", exponentformat: "power", minexponent: 4 },
  };
}
// Of a logarithmic axis 1, 2 and 5 of each decade, or whole decades where there are many.
function scale(chart, log) {
  if (!log) return { type: "linear", autorange: true, nticks: 6, tickmode: "auto" };
  const values = chart.curves.flatMap(curve => [...curve.y, ...curve.low, ...curve.high])
    .filter(value => value !== null);
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const decades = Math.log10(most / values.reduce((a, b) => Math.min(a, b), most));
  return { type: "log", autorange: true, tickmode: "linear",
    dtick: decades > 2 ? Math.ceil(decades / 6) : "D2" };
}
const end = 1.01 * data.charts.reduce((most, chart) => chart.curves.reduce(
  (a, curve) => Math.max(a, curve.x[curve.x.length - 1] || 0), most), 1);
const positive = chart => chart.curves.every(
  curve => [...curve.y, ...curve.low].every(value => value === null || value > 0));
function draw(chart) {
  const log = make("button", { type: "button", textContent: "log", title: "logarithmic axis" });
  const plot = make("div", { className: "plot" });
  const head = make("div", { className: "chart-head" }, make("h3", { textContent: chart.title }),
    make("span", { className: "about", textContent: chart.about, title: chart.about }), log);
  const card = make("div", { className: "card chart" }, head, legend(chart, plot), plot);
  log.disabled = !positive(chart) || chart.kind === "areas";
  if (log.disabled) log.title = "not for values at or below zero";
  if (chart.log && !log.disabled) log.className = "on";
  log.onclick = () => {
    log.classList.toggle("on");
    const change = {};
    Object.entries(scale(chart, log.classList.contains("on"))).forEach(
      ([name, value]) => { change[`yaxis.${name}`] = value; });
    Plotly.relayout(plot, change);
  };
  return [card, plot];
}
// Words that hide or show their curve.
function legend(chart, plot) {
  const place = make("div", { className: "legend" });
  if (several || chart.curves.length < 2) return place;
  chart.curves.forEach((curve, i) => {
    const dot = make("span", { className: "dot" });
    dot.style.background = color(i);
    const word = make("span", { title: "hide or show" }, dot, curve.label);
    word.onclick = () => {
      const hidden = word.classList.toggle("off");
      const lines = plot.data.map((line, k) => line.legendgroup === i ? k : -1).filter(k => k >= 0);
      Plotly.restyle(plot, { visible: !hidden }, lines);
    };
    place.append(word);
  });
  return place;
}
let following = false;
function zoom(range, from) {
  following = true;
  const change = { "xaxis.range": range ? range.slice() : [0, end], "yaxis.autorange": true };
  plots.filter(plot => range === null || plot !== from).forEach(
    plot => Plotly.relayout(plot, structuredClone(change)));
  document.getElementById("from").value = range ? Math.round(range[0]) : "";
  document.getElementById("to").value = range ? Math.round(range[1]) : "";
  setTimeout(() => { following = false; });
}
function follow(plot) {
  plot.on("plotly_relayout", event => {
    if (following) return;
    if ("xaxis.range[0]" in event) zoom([event["xaxis.range[0]"], event["xaxis.range[1]"]], plot);
  });
  plot.on("plotly_doubleclick", () => zoom(null, null));
  plot.on("plotly_click", event => showMoment(event.points[0].x));
}
function typed() {
  const [low, high] = ["from", "to"].map(id => document.getElementById(id).value);
  zoom(low || high ? [Number(low || 0), Number(high || end)] : null, null);
}
const AT_ONCE = 3;  // charts before the page is shown; the others follow one by one
function drawNext(waiting) {
  if (!waiting.length) return;
  const [chart, plot] = waiting.shift();
  Plotly.newPlot(plot, traces(chart), layout(chart), {
    displaylogo: false, responsive: true, doubleClick: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "resetScale2d"],
  });
  plots.push(plot);
  follow(plot);
}
function drawAll() {
  const place = document.getElementById("charts");
  if (!place) return;
  const grids = {}, waiting = [];
  for (const chart of data.charts) {
    if (!grids[chart.section]) {
      grids[chart.section] = make("div", { className: "grid" });
      place.append(make("h2", { textContent: chart.section }), grids[chart.section]);
    }
    const [card, plot] = draw(chart);
    grids[chart.section].append(card);
    waiting.push([chart, plot]);
  }
  for (let i = 0; i < AT_ONCE; i++) drawNext(waiting);
  const rest = () => { drawNext(waiting); if (waiting.length) setTimeout(rest); };
  setTimeout(rest);
  for (const id of ["from", "to"]) document.getElementById(id).onchange = typed;
  document.getElementById("whole").onclick = () => zoom(null, null);
  const words = several ? data.runs.map((name, i) => [name, color(i)]) : [];
  words.push(...verdicts.map(verdict => [data.bands.find(band => band.verdict === verdict).title,
    clear(illColor(verdict), 0.5)]));
  for (const [word, ink] of words) {
    const dot = make("span", { className: "dot" });
    dot.style.background = ink;
    document.getElementById("legend").append(make("span", {}, dot, word));
  }
}

// Pictures: one slider for all runs.
const moments = [...new Set(data.strips.flatMap(strip => strip.map(([nimg]) => nimg)))]
  .sort((a, b) => a - b);
const slider = document.getElementById("time");
let timer = null;
function show(index) {
  const nimg = moments[index];
  slider.value = index;
  document.getElementById("moment").textContent = `${nimg.toLocaleString("en")} images`;
  document.querySelectorAll("#strip figure").forEach(figure => {
    const strip = data.strips[figure.dataset.run];
    if (!strip.length) return;
    const [at, source] = strip.filter(([n]) => n <= nimg).pop() || strip[0];
    figure.querySelector(".sample").src = source;
    figure.querySelector("figcaption").textContent =
      (several ? `${data.runs[figure.dataset.run]}, ` : "") + `after ${at.toLocaleString("en")} images`;
  });
  document.querySelectorAll("#thumbs img").forEach(
    (thumb, i, all) => thumb.classList.toggle("on", Number(thumb.dataset.index) <= index
      && (i + 1 === all.length || Number(all[i + 1].dataset.index) > index)));
}
function showMoment(nimg) {
  if (!slider) return;
  const before = moments.filter(moment => moment <= nimg).length;
  show(Math.max(before - 1, 0));
}
function play() {
  const button = document.getElementById("play");
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "▶"; };
  if (timer !== null) return stop();
  if (Number(slider.value) === moments.length - 1) show(0);
  button.textContent = "❚❚";
  timer = setInterval(() => {
    if (Number(slider.value) >= moments.length - 1) return stop();
    show(Number(slider.value) + 1);
  }, 400);
}
function strips() {
  if (!slider || !moments.length) return;
  const thumbs = document.getElementById("thumbs");
  const strip = data.strips.find(pictures => pictures.length);
  const count = Math.min(strip.length, 12);
  for (let i = 0; i < count; i++) {
    const [nimg, src] = strip[Math.round(i * (strip.length - 1) / Math.max(count - 1, 1))];
    const thumb = make("img", { src, alt: `${nimg} images`, title: `${nimg.toLocaleString("en")} images` });
    thumb.dataset.index = moments.indexOf(nimg);
    thumb.onclick = () => show(Number(thumb.dataset.index));
    thumbs.append(thumb);
  }
  slider.max = moments.length - 1;
  slider.oninput = () => show(Number(slider.value));
  document.getElementById("play").onclick = play;
  const compare = document.getElementById("compare");
  if (!data.reals.some(Boolean)) compare.parentElement.hidden = true;
  compare.onchange = () => document.querySelectorAll("#strip figure").forEach(figure => {
    const reals = figure.querySelector(".reals"), source = data.reals[figure.dataset.run];
    reals.hidden = !compare.checked || !source;
    if (source) reals.src = source;
  });
  show(moments.length - 1);
}

document.querySelectorAll(".dot[data-verdict]").forEach(dot => {
  dot.style.background = illColor(dot.dataset.verdict);
});
document.querySelectorAll(".dot[data-name]").forEach(dot => {
  if (several) dot.style.background = color(data.runs.indexOf(dot.dataset.name));
  else dot.hidden = true;
});
document.querySelectorAll(".copy").forEach(button => button.onclick = async () => {
  const words = button.previousElementSibling;
  getSelection().selectAllChildren(words);
  if (!navigator.clipboard) return;  // a page that was not fetched safely may only select
  await navigator.clipboard.writeText(words.textContent);
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1200);
});
strips();
