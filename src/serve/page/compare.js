// SPDX-License-Identifier: MIT
// One prompt, two answers side by side: two models, or one with two settings. Both run at once, as they would for two
// users.

import {answer_view, run} from "./answer.js";
import {$, el, options} from "./dom.js";
import {request_of, settings_form} from "./settings.js";
import {save, state} from "./store.js";

let stopper = null;
const sides = [];

function make_side(place, i) {
  const kept = state.sides[i] ??= {};
  kept.settings ??= {};
  const id = `side-${"ab"[i]}`;
  const model = el("select", {id: `${id}-model`, onchange: () => { kept.model = model.value; save(); }});
  const view = answer_view();
  place.replaceChildren(
    el("div", {class: "field"}, el("label", {for: `${id}-model`}, "Model"), model),
    el("details", {}, el("summary", {}, "Settings"), ...settings_form(`${id}-`, kept.settings, save)),
    el("div", {class: "message assistant"}, ...view.nodes));
  return {kept, model, view, place};
}

export function set_models(names) {
  sides.forEach(({kept, model}, i) => {
    if (!names.includes(kept.model)) kept.model = names[Math.min(i, names.length - 1)] ?? "";
    options(model, names.map((name) => [name, name]), kept.model);
  });
}

function busy(is) {
  $("#compare-run").hidden = is;
  $("#compare-stop").hidden = !is;
  for (const {place} of sides) place.setAttribute("aria-busy", String(is));
}

async function compare(event) {
  event?.preventDefault();
  const text = $("#compare-prompt").value;
  if (stopper || text.trim() === "") return;
  stopper = new AbortController();
  busy(true);
  $("#compare-status").textContent = "Answering";
  await Promise.all(sides.map(({kept, view}) => run(
    request_of(kept.model, kept.settings, [{role: "user", content: text}]), {}, view, stopper.signal)));
  stopper = null;
  busy(false);
  $("#compare-status").textContent = "Both answers are there";
}

export function stop() {
  if (!stopper) return false;
  stopper.abort();
  return true;
}

export function start() {
  sides.push(make_side($("#side-a"), 0), make_side($("#side-b"), 1));
  $("#compare-form").addEventListener("submit", compare);
  $("#compare-stop").addEventListener("click", () => { stop(); $("#compare-prompt").focus(); });
  $("#compare-prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) compare(event);
  });
}

export function enter() {
  if (matchMedia("(pointer: fine)").matches) $("#compare-prompt").focus();
}
