// SPDX-License-Identifier: MIT
// The page as a whole: which view is shown, colours, the key, keys that work everywhere.

import {hooks} from "./api.js";
import * as chat from "./chat.js";
import * as compare from "./compare.js";
import {$, notice} from "./dom.js";
import * as metrics from "./metrics.js";
import * as models from "./models.js";
import {key, save, set_key, state} from "./store.js";

// ---- views ------------------------------------------------------------------------------------------------------

const views = {chat, compare, models, metrics};
let shown = "";

function show_view() {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return $("#main").focus(); // the skip link
  const name = wanted in views ? wanted : "chat";
  if (name === shown) return;
  views[shown]?.leave?.();
  shown = name;
  for (const id of Object.keys(views)) $(`#${id}`).hidden = id !== name;
  for (const link of document.querySelectorAll("nav a"))
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  document.title = name === "chat" ? "slm" : `${name[0].toUpperCase()}${name.slice(1)} · slm`;
  views[name].enter?.();
}

// ---- colours ----------------------------------------------------------------------------------------------------

const themes = ["", "dark", "light"], theme_names = {"": "Auto", dark: "Dark", light: "Light"};

function show_theme() {
  document.documentElement.dataset.theme = state.theme;
  $("#theme").textContent = theme_names[state.theme];
  $("#theme").setAttribute("aria-label", `Colours: ${theme_names[state.theme].toLowerCase()}`);
}

// ---- the key ----------------------------------------------------------------------------------------------------

function ask_key() {
  const dialog = $("#key-dialog");
  if (dialog.open) return;
  $("#key").value = key();
  dialog.returnValue = "";
  dialog.showModal();
}

// Without models nothing else works; a wrong key is asked for again.
async function read_models() {
  try {
    const names = await models.names();
    chat.set_models(names);
    compare.set_models(names);
    notice("");
  } catch (error) {
    notice(error.status === 401 ? "This server wants an API key." : error.message);
  }
}

// ---- start ------------------------------------------------------------------------------------------------------

hooks.needs_key = ask_key;
$("#key-open").addEventListener("click", ask_key);
$("#key-dialog").addEventListener("close", (event) => {
  if (event.target.returnValue !== "save") return;
  set_key($("#key").value.trim());
  read_models();
});
$("#theme").addEventListener("click", () => {
  state.theme = themes[(themes.indexOf(state.theme) + 1) % themes.length];
  save();
  show_theme();
});
addEventListener("hashchange", show_view);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("#key-dialog").open && views[shown].stop?.()) event.preventDefault();
});

show_theme();
chat.start();
compare.start();
show_view();
read_models();
