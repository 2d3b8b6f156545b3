// SPDX-License-Identifier: MIT
// What a request may say beside its messages: one row a field, which makes its input, its check and its place in the
// request. An empty field is left out, so that the model's own default holds.

import {el} from "./dom.js";

const rows = [
  {name: "temperature", label: "Temperature", min: 0, max: 100, step: 0.05, help: "0 always takes the likeliest token"},
  {name: "top_p", label: "Top p", min: 0, max: 1, step: 0.01, help: "the likeliest tokens up to this probability"},
  {name: "top_k", label: "Top k", min: 0, max: 1000000, step: 1, help: "that many of the likeliest; 0 is all"},
  {name: "min_p", label: "Min p", min: 0, max: 1, step: 0.01, help: "at least this share of the likeliest one's"},
  {name: "max_tokens", label: "Max tokens", min: 1, max: 2147483647, step: 1, help: "of an answer"},
  {name: "seed", label: "Seed", min: 0, max: 9007199254740991, step: 1, help: "the same seed, the same answer"},
];
const THINKING = [["", "default"], ["on", "on"], ["off", "off"]];

// Fields with names of their own: several forms stand on one page. values is changed in place.
export function settings_form(prefix, values, changed) {
  const keep = (name) => (event) => {
    if (!event.target.checkValidity()) {
      event.target.reportValidity();
      return;
    }
    values[name] = event.target.value;
    changed();
  };
  const fields = rows.map((row) => el("div", {class: "field"},
    el("label", {for: prefix + row.name, title: row.help}, row.label),
    el("input", {id: prefix + row.name, type: "number", min: row.min, max: row.max, step: row.step, inputmode: "decimal",
                 placeholder: row.name === "seed" ? "random" : "default", value: values[row.name] ?? "",
                 onchange: keep(row.name)})));
  const thinking = el("select", {id: prefix + "thinking", onchange: keep("thinking")},
                      ...THINKING.map(([value, text]) => el("option", {value}, text)));
  thinking.value = values.thinking ?? "";
  fields.push(el("div", {class: "field"}, el("label", {for: prefix + "thinking"}, "Thinking"), thinking));
  return [el("div", {class: "field wide-field"},
             el("label", {for: prefix + "system"}, "System prompt"),
             el("textarea", {id: prefix + "system", rows: 2, value: values.system ?? "", onchange: keep("system")})),
          el("div", {class: "fields"}, ...fields)];
}

// The request of these messages with these settings.
export function request_of(model, values, messages) {
  const request = {model, messages: messages.map(({role, content}) => ({role, content}))};
  if (values.system) request.messages.unshift({role: "system", content: values.system});
  for (const {name} of rows) if (values[name] !== undefined && values[name] !== "") request[name] = Number(values[name]);
  if (values.thinking) request.chat_template_kwargs = {enable_thinking: values.thinking === "on"};
  return request;
}
