// SPDX-License-Identifier: MIT
// Conversations with one model: sending, stopping, asking once more, changing what was said. All of them are kept in
// this browser and nowhere else.

import {answer_view, run, summary} from "./answer.js";
import {$, el, notice, options} from "./dom.js";
import {copy_text} from "./markdown.js";
import {request_of, settings_form} from "./settings.js";
import {save, state} from "./store.js";

const log = $("#log"), prompt = $("#prompt"), status = $("#status");
let stopper = null; // of the answer that is being written

const NEAR_END = 80; // px from the end: the reader follows, and the log scrolls along

function keep() {
  if (!save()) notice("This browser has no room for more: delete conversations to keep new ones.");
}

// ---- conversations ----------------------------------------------------------------------------------------------

function talk() {
  return state.talks.find((t) => t.id === state.talk) ?? begin();
}

function begin() {
  const fresh = {id: crypto.randomUUID?.() ?? String(Math.random()), title: "", messages: []};
  state.talks = [fresh, ...state.talks.filter((t) => t.messages.length)];
  state.talk = fresh.id;
  return fresh;
}

function title_of(t) {
  return t.title || "New conversation";
}

function show_talks() {
  const current = talk();
  options($("#talks"), state.talks.map((t) => [t.id, title_of(t)]), current.id);
}

function change_talk(id) {
  stop();
  state.talk = id;
  keep();
  show();
}

// ---- the log ----------------------------------------------------------------------------------------------------

function at_end() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
}

function button(text, onclick) {
  return el("button", {type: "button", class: "plain", onclick}, text);
}

function user_node(message, i) {
  const text = el("div", {class: "content"}, message.content);
  const acts = el("div", {class: "acts"}, button("Edit", () => edit(node, message, i)));
  const node = el("article", {class: "message user"}, el("h2", {class: "unseen"}, "You"), text, acts);
  return node;
}

function assistant_node(message, i) {
  const view = answer_view();
  const copy = button("Copy", () => copy_text(copy, message.content));
  const acts = [copy];
  if (i === talk().messages.length - 1) acts.push(button("Regenerate", () => again(i)));
  view.fill(message);
  const node = el("article", {class: "message assistant"}, el("h2", {class: "who"}, message.model || "Answer"),
                  ...view.nodes, el("div", {class: "acts"}, ...acts));
  return {node, view};
}

// What is there when nothing was said.
function empty_node() {
  return el("div", {class: "empty"}, el("p", {class: "large"}, "What shall we talk about?"),
            el("p", {class: "dim"}, "Everything stays between this browser and the server it came from."));
}

function show() {
  show_talks();
  const messages = talk().messages;
  const nodes = messages.map((m, i) => (m.role === "user" ? user_node(m, i) : assistant_node(m, i).node));
  log.replaceChildren(...(nodes.length ? nodes : [empty_node()]));
  log.scrollTop = log.scrollHeight;
  status.textContent = "";
}

// In the place of the message; what came after it goes when the new one is sent.
function edit(node, message, i) {
  if (stopper) return;
  const field = el("textarea", {rows: 3, "aria-label": "Edit message", value: message.content});
  const done = () => {
    if (field.value.trim() === "") return;
    talk().messages.length = i;
    say(field.value);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) done();
    if (event.key !== "Escape") return;
    event.stopPropagation();
    show();
    prompt.focus();
  });
  node.replaceChildren(el("h2", {class: "unseen"}, "You"), field,
                       el("div", {class: "row"}, el("button", {type: "button", class: "main", onclick: done}, "Send"),
                          el("button", {type: "button", onclick: show}, "Cancel")));
  field.focus();
}

function again(i) {
  if (stopper) return;
  talk().messages.length = i;
  answer();
}

// ---- saying, answering, stopping --------------------------------------------------------------------------------

function say(text) {
  const current = talk();
  current.messages.push({role: "user", content: text});
  if (!current.title) current.title = text.trim().replace(/\s+/g, " ").slice(0, 60);
  answer();
}

function busy(is) {
  $("#send").hidden = is;
  $("#stop").hidden = !is;
  log.setAttribute("aria-busy", String(is)); // read out once it is whole
}

// Messages before i, and those that failed have nothing to say.
function history(messages) {
  return messages.filter((m) => m.role === "user" || m.content);
}

async function answer() {
  const current = talk(), message = {role: "assistant", model: state.model, content: "", thinking: ""};
  const request = request_of(state.model, state.settings, history(current.messages));
  const controller = stopper = new AbortController();
  current.messages.push(message);
  show();
  const last = log.lastElementChild, {node, view} = assistant_node(message, -1);
  last.replaceWith(node);
  log.scrollTop = log.scrollHeight;
  busy(true);
  status.textContent = "Answering …";
  const follow = {fill(m, is_busy) {
    const follows = at_end();
    view.fill(m, is_busy);
    if (is_busy && m.how) status.textContent = summary(m.how);
    if (follows) log.scrollTop = log.scrollHeight;
  }, nodes: view.nodes};
  await run(request, message, follow, controller.signal);
  keep();
  if (stopper !== controller) return; // another conversation is shown, or another answer grows
  stopper = null;
  busy(false);
  const follows = at_end();
  node.replaceWith(assistant_node(message, current.messages.length - 1).node);
  if (follows) log.scrollTop = log.scrollHeight;
  status.textContent = message.error ? "Failed" : message.how?.finish === "stopped" ? "Stopped" : "Done";
}

export function stop() {
  if (!stopper) return false;
  stopper.abort();
  return true;
}

// ---- wiring -----------------------------------------------------------------------------------------------------

function send(event) {
  event?.preventDefault();
  const text = prompt.value;
  if (stopper || text.trim() === "") return;
  prompt.value = "";
  grow();
  say(text);
}

// As high as what is written, up to a third of the window.
function grow() {
  prompt.style.height = "auto";
  prompt.style.height = `${Math.min(prompt.scrollHeight + 2, innerHeight / 3)}px`;
}

// A finger has no Shift: there Enter is a new line. While an input method composes, Enter is its own.
function on_key(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  if (!event.ctrlKey && !event.metaKey && matchMedia("(pointer: coarse)").matches) return;
  send(event);
}

export function set_models(names) {
  if (!names.includes(state.model)) state.model = names[0] ?? "";
  options($("#model"), names.map((name) => [name, name]), state.model);
}

export function start() {
  const panel = $("#settings"), opener = $("#settings-open");
  panel.replaceChildren(...settings_form("set-", state.settings, keep));
  opener.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    opener.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) $("textarea, input", panel).focus();
  });
  $("#compose").addEventListener("submit", send);
  prompt.addEventListener("keydown", on_key);
  prompt.addEventListener("input", grow);
  $("#stop").addEventListener("click", () => { stop(); prompt.focus(); });
  $("#model").addEventListener("change", (event) => { state.model = event.target.value; keep(); });
  $("#talks").addEventListener("change", (event) => change_talk(event.target.value));
  $("#talk-new").addEventListener("click", () => { change_talk(begin().id); prompt.focus(); });
  $("#talk-delete").addEventListener("click", () => {
    const id = talk().id;
    stop();
    state.talks = state.talks.filter((t) => t.id !== id);
    change_talk(state.talks[0]?.id ?? "");
  });
  show();
}

export function enter() {
  if (matchMedia("(pointer: fine)").matches) prompt.focus();
}
