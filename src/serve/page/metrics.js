// SPDX-License-Identifier: MIT
// The numbers of /metrics as they change: rates from counters, quantiles from histograms, both over what happened since
// the sample before (quantiles over half a minute). Nothing is kept when the page closes; Prometheus does that better.

import {get_text} from "./api.js";
import {$, el, number, seconds, svg} from "./dom.js";

const EVERY_MS = 2000, MOST = 150, WINDOW = 15; // samples kept; samples a quantile is made of
let timer = 0, samples = [];

// ---- reading ----------------------------------------------------------------------------------------------------

const LINE = /^([A-Za-z_:][\w:]*)(\{(?:"(?:[^"\\]|\\.)*"|[^}"])*\})?\s+(\S+)/;

// {name: sum over all labels}, and the buckets of histograms as {name: Map(bound -> count)}.
export function parse(text) {
  const values = {}, buckets = {};
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match) continue;
    const [, name, labels, value] = match, bound = /le="([^"]*)"/.exec(labels ?? "");
    if (name.endsWith("_bucket") && bound) {
      const bounds = buckets[name.slice(0, -7)] ??= new Map();
      const key = bound[1] === "+Inf" ? Infinity : Number(bound[1]);
      bounds.set(key, (bounds.get(key) ?? 0) + Number(value));
    } else {
      values[name] = (values[name] ?? 0) + Number(value);
    }
  }
  return {values, buckets, at: performance.now() / 1000};
}

// Linear inside of its bucket, as Prometheus' histogram_quantile. null: nothing happened between the two.
export function quantile(before, after, q) {
  if (!after) return null;
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const count = (bound) => after.get(bound) - (before?.get(bound) ?? 0);
  const total = count(bounds.at(-1));
  if (!(total > 0)) return null;
  let low = 0, below = 0;
  for (const bound of bounds) {
    const n = count(bound);
    if (n >= q * total) return bound === Infinity ? low : low + (bound - low) * (q * total - below) / (n - below);
    [low, below] = [bound, n];
  }
  return low;
}

const value = (name) => (now) => now.values[name] ?? null;
const share = (part, whole) => (now) => (whole in now.values ? 100 * now.values[part] / (now.values[whole] || 1) : null);
const rate = (name) => (now, before) => {
  if (!before || !(name in now.values)) return null;
  const per_s = (now.values[name] - before.values[name]) / (now.at - before.at);
  return per_s >= 0 ? per_s : null; // the server began anew
};
const quantile_of = (name, q) => (now, before, far) => (far ? quantile(far.buckets[name], now.buckets[name], q) : null);

// ---- charts -----------------------------------------------------------------------------------------------------

const charts = [
  {title: "Tokens a second", format: number, lines: [
    ["generated", rate("vllm:generation_tokens_total")],
    ["of prompts", rate("vllm:prompt_tokens_total")]]},
  {title: "Requests", format: number, whole: true, lines: [
    ["running", value("vllm:num_requests_running")],
    ["waiting", value("vllm:num_requests_waiting")]]},
  {title: "KV cache in use", format: (n) => (n === null ? "–" : `${number(n)} %`), least: 1, most: 100, lines: [
    ["of its pages", share("slm_kv_pages_used", "slm_kv_pages")]]},
  {title: "Time to first token", format: seconds, lines: [
    ["median", quantile_of("vllm:time_to_first_token_seconds", 0.5)],
    ["p95", quantile_of("vllm:time_to_first_token_seconds", 0.95)]]},
];

const HEIGHT = 150, LEFT = 52, RIGHT = 8, TOP = 8, BOTTOM = 20;

// The next of 1, 2, 5, 10 ... above it.
function nice(most, whole) {
  if (!(most > 0)) return whole ? 2 : 1;
  const power = 10 ** Math.floor(Math.log10(most));
  const top = [1, 2, 5, 10].find((step) => step * power >= most) * power;
  return whole ? Math.max(2, top) : top;
}

// Pieces of a line between samples that have no value.
function path(values, x, y) {
  let text = "", pen = "M";
  values.forEach((v, i) => {
    if (v === null) pen = "M";
    else [text, pen] = [`${text}${pen}${x(i).toFixed(1)} ${y(v).toFixed(1)}`, "L"];
  });
  return text;
}

function draw(chart) {
  const width = chart.place.clientWidth;
  if (!width) return;
  const rows = chart.lines.map(([, read]) => samples.map((s, i) => read(s, samples[i - 1], samples[Math.max(0, i - WINDOW)])));
  const seen = Math.max(0, ...rows.flat().filter((v) => v !== null));
  const top = Math.min(chart.most ?? Infinity, nice(Math.max(seen, chart.least ?? 0), chart.whole));
  const x = (i) => LEFT + (width - LEFT - RIGHT) * (MOST - samples.length + i) / (MOST - 1);
  const y = (v) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * v / top;
  const nodes = [0, 0.5, 1].flatMap((part) => [
    svg("line", {class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(part * top), y2: y(part * top)}),
    svg("text", {x: LEFT - 6, y: y(part * top) + 4, "text-anchor": "end"}, chart.format(part * top))]);
  nodes.push(svg("text", {x: LEFT, y: HEIGHT - 4}, "5 min ago"),
             svg("text", {x: width - RIGHT, y: HEIGHT - 4, "text-anchor": "end"}, "now"));
  rows.forEach((values, i) => {
    nodes.push(svg("path", {class: `line c${i}`, d: path(values, x, y)}));
    const last = values.at(-1) ?? null;
    if (last !== null) nodes.push(svg("circle", {class: `c${i}`, cx: x(values.length - 1), cy: y(last), r: 3}));
    chart.values[i].textContent = chart.format(last);
  });
  const said = chart.lines.map(([name], i) => `${name} ${chart.values[i].textContent}`).join(", ");
  chart.place.replaceChildren(svg("svg", {viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img",
                                          "aria-label": `${chart.title}: ${said}`}, ...nodes));
}

const tiles = [
  ["requests answered", (s) => number(s.values["vllm:request_success_total"] ?? 0)],
  ["tokens generated", (s) => number(s.values["vllm:generation_tokens_total"] ?? 0)],
  ["prompt tokens from cache", (s) => {
    const all = s.values["vllm:prefix_cache_queries_total"];
    return all ? `${number(100 * s.values["vllm:prefix_cache_hits_total"] / all)} %` : "–";
  }],
  ["time between tokens, median", (s) => seconds(quantile(null, s.buckets["vllm:inter_token_latency_seconds"], 0.5))],
];

function make() {
  $("#tiles").replaceChildren(...tiles.map(([name]) => el("div", {class: "tile"}, el("b", {}, "–"), el("span", {}, name))));
  $("#charts").replaceChildren(...charts.map((chart) => {
    chart.values = chart.lines.map(() => el("b", {}, "–"));
    chart.place = el("div", {class: "plot"});
    return el("section", {class: "card"}, el("h2", {}, chart.title), chart.place,
              el("p", {class: "legend"}, ...chart.lines.map(([name], i) => el("span", {}, el("i", {class: `c${i}`}), name, " ",
                                                                              chart.values[i]))));
  }));
}

async function take() {
  if (document.hidden) return;
  try {
    samples.push(parse(await get_text("metrics")));
    samples = samples.slice(-MOST);
  } catch (error) {
    $("#tiles").replaceChildren(el("p", {class: "error"}, error.message));
    return;
  }
  if ($("#tiles .error")) make();
  document.querySelectorAll("#tiles .tile b").forEach((node, i) => { node.textContent = tiles[i][1](samples.at(-1)); });
  charts.forEach(draw);
}

export function enter() {
  samples = [];
  make();
  take();
  timer = setInterval(take, EVERY_MS);
}

export function leave() {
  clearInterval(timer);
}
