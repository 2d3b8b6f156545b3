// SPDX-License-Identifier: MIT
// The models of the server: which there are, which of them are loaded, until when; loading and unloading by hand.

import {get, post} from "./api.js";
import {$, bytes, el} from "./dom.js";

const EVERY_MS = 5000;
let timer = 0;

function state_of(loaded) {
  if (!loaded) return "not loaded";
  const left = (new Date(loaded.expires_at) - Date.now()) / 1000;
  if (left > 365 * 86400) return "loaded";
  return left > 90 ? `loaded, ${Math.round(left / 60)} min left` : "loaded, leaves when idle";
}

// Ollama's way: a request without a prompt, and how long the model is to stay.
async function act(name, keep_alive) {
  const status = $("#models-status");
  status.textContent = keep_alive === 0 ? `${name} leaves when it is idle …` : `${name} is being loaded …`;
  try {
    await post("api/generate", keep_alive === 0 ? {model: name, keep_alive} : {model: name});
    status.textContent = keep_alive === 0 ? `${name} leaves when it is idle.` : `${name} is loaded.`;
  } catch (error) {
    status.textContent = error.message;
  }
  show();
}

function row(model, loaded) {
  const details = model.details;
  return el("tr", {}, el("th", {scope: "row"}, model.name),
            el("td", {}, el("span", {class: loaded ? "dot on" : "dot", "aria-hidden": "true"}), state_of(loaded)),
            el("td", {}, el("button", {type: "button", "aria-label": `${loaded ? "Unload" : "Load"} ${model.name}`,
                                       onclick: () => act(model.name, loaded ? 0 : undefined)},
                            loaded ? "Unload" : "Load")),
            el("td", {}, details.family || "–"), el("td", {}, details.parameter_size || "–"),
            el("td", {}, bytes(model.size)), el("td", {}, loaded ? String(loaded.context_length) : "–"));

}

async function show() {
  try {
    const [tags, ps] = await Promise.all([get("api/tags"), get("api/ps")]);
    const loaded = new Map(ps.models.map((m) => [m.name, m]));
    const rows = $("#model-rows"), focus = document.activeElement?.getAttribute("aria-label");
    rows.replaceChildren(...tags.models.map((m) => row(m, loaded.get(m.name))));
    if (focus) [...rows.querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focus)?.focus();
  } catch (error) {
    $("#models-status").textContent = error.message;
  }
}

export const names = async () => (await get("v1/models")).data.map((m) => m.id);

export function enter() {
  show();
  timer = setInterval(() => { if (!document.hidden) show(); }, EVERY_MS);
}

export function leave() {
  clearInterval(timer);
}
