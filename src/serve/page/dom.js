// SPDX-License-Identifier: MIT
// Nodes without HTML: every text on the page goes through here as a text, so that nothing a model or a file says can
// become markup. The server's Content-Security-Policy holds the same line once more.

export const $ = (selector, root = document) => root.querySelector(selector);

// el("p", {class: "dim", onclick: f, hidden: true}, "text", node, null)
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  set(node, attributes);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function set(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else if (key === "value") node.value = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
}

export function options(select, rows, chosen) {
  select.replaceChildren(...rows.map(([value, text]) => el("option", {value}, text)));
  if (rows.some(([value]) => value === chosen)) select.value = chosen;
}

let notice_timer = 0;

// One sentence for everybody, at the top. "" takes it away.
export function notice(text) {
  const node = $("#notice");
  clearTimeout(notice_timer);
  node.textContent = text;
  node.hidden = text === "";
  if (text) notice_timer = setTimeout(() => notice(""), 10000);
}

const units = ["B", "KB", "MB", "GB", "TB"];

export function bytes(n) {
  let unit = 0;
  for (; n >= 1000 && unit < units.length - 1; unit++) n /= 1000;
  return `${n >= 100 || unit === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[unit]}`;
}

export function seconds(s) {
  if (s === null || Number.isNaN(s)) return "–";
  return s < 1 ? `${Math.round(s * 1000)} ms` : `${s.toFixed(s < 10 ? 2 : 1)} s`;
}

// Three digits are what anyone reads.
export function number(n) {
  if (n === null || Number.isNaN(n)) return "–";
  return n >= 100 || Number.isInteger(n) ? n.toFixed(0) : n.toFixed(n >= 10 ? 1 : 2);
}
