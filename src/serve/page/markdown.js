// SPDX-License-Identifier: MIT
// Markdown as models write it, to nodes. Only nodes and texts are made, links lead to http, https and mail alone, and
// pictures become links: an answer can neither run anything nor make the browser call anybody. What is not understood
// stays text. Deliberately not here: all of CommonMark; HTML in Markdown is text.

import {el} from "./dom.js";

const MOST_LEVELS = 8; // of lists in lists and quotes in quotes; deeper ones are shown flat

// ---- inside of a line -------------------------------------------------------------------------------------------

// In the order in which they are tried at a place: what is before others wins. Each is anchored at that place.
const spans = [
  [/\\([!-/:-@[-`{-~])/y, (m) => m[1]],
  [/(`+)([^]*?[^`])\1(?!`)/y, (m) => el("code", {}, m[2].replace(/^ (.+) $/, "$1"))],
  [/!?\[((?:\\.|[^\]\\]){0,1000})\]\(<?([^\s()<>]+(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+"[^"]*")?\)/y,
   (m, level) => link(m[2], inline(m[1], level + 1), m[0])],
  [/https?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)\]}*_]/y, (m) => link(m[0], [m[0]], m[0])],
  [/(\*\*|__)(?=\S)([^]*?\S)\1(?!\w)/y, (m, level) => el("strong", {}, ...inline(m[2], level + 1))],
  [/~~(?=\S)([^]*?\S)~~/y, (m, level) => el("del", {}, ...inline(m[1], level + 1))],
  [/\*(?=[^\s*])([^*]*?[^\s*])\*(?!\*)/y, (m, level) => el("em", {}, ...inline(m[1], level + 1))],
  [/_(?=[^\s_])([^_]*?[^\s_])_(?!\w)/y, (m, level) => el("em", {}, ...inline(m[1], level + 1))],
  [/ {2,}\n|\\\n/y, () => el("br")],
];

function link(address, children, whole) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return whole;
  return el("a", {href: address, rel: "noopener noreferrer nofollow", target: "_blank"}, ...children);
}

// Places where a span can begin; everything between them is text.
const begins = /[\\`!*_~[]|https?:\/\/| {2,}\n/g;

function inline(text, level = 0) {
  if (level > MOST_LEVELS) return [text];
  const out = [];
  let from = 0, at = 0;
  for (;;) {
    begins.lastIndex = at;
    const place = begins.exec(text)?.index;
    if (place === undefined) break;
    let found = null;
    // An underscore inside of a word is a name, as in snake_case.
    const in_word = text[place] === "_" && place > 0 && /\w/.test(text[place - 1]);
    for (const [pattern, make] of in_word ? [] : spans) {
      pattern.lastIndex = place;
      const match = pattern.exec(text);
      if (!match) continue;
      found = [make(match, level), place + match[0].length];
      break;
    }
    at = found ? found[1] : place + 1;
    if (!found) continue;
    if (place > from) out.push(text.slice(from, place));
    out.push(found[0]);
    from = at;
  }
  if (from < text.length) out.push(text.slice(from));
  return out;
}

// ---- lines ------------------------------------------------------------------------------------------------------

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+)(?=\S)/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

// The lines of a fence up to its end, or all there are while it is being written.
function take_fence(lines, at, out) {
  const [, fence, language] = FENCE.exec(lines[at]);
  const end = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}\\s*$`);
  const body = [];
  for (at++; at < lines.length && !end.test(lines[at]); at++) body.push(lines[at]);
  const text = body.join("\n");
  const copy = el("button", {type: "button", class: "plain copy", onclick: () => copy_text(copy, text)}, "Copy");
  out.push(el("div", {class: "fence"}, el("div", {class: "fence-head"}, el("span", {}, language), copy),
              el("pre", {tabindex: "0"}, el("code", {}, text))));
  return at + 1;
}

export async function copy_text(button, text) {
  const name = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = name; }, 1500);
}

function cells(line) {
  return line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function take_table(lines, at, out) {
  const sides = cells(lines[at + 1]).map((rule) => (/^:-+:$/.test(rule) ? "center" : rule.endsWith(":") ? "right" : ""));
  const row = (line, name) => el("tr", {}, ...cells(line).slice(0, sides.length).map(
    (cell, i) => el(name, {class: sides[i] || null}, ...inline(cell))));
  const body = [], head = row(lines[at], "th");
  for (at += 2; at < lines.length && lines[at].includes("|"); at++) body.push(row(lines[at], "td"));
  out.push(el("div", {class: "wide", tabindex: "0"},
              el("table", {}, el("thead", {}, head), el("tbody", {}, ...body))));
  return at;
}

// Items of one indentation; what is indented below one is its own.
function take_list(lines, at, out, level) {
  const first = ITEM.exec(lines[at]), ordered = /\d/.test(first[2]), items = [];
  const indent = first[1].length;
  while (at < lines.length) {
    const match = ITEM.exec(lines[at]);
    if (!match || match[1].length > indent + 3 || match[1].length < indent || /\d/.test(match[2]) !== ordered) break;
    const inner = match[0].length, body = [lines[at].slice(inner)];
    for (at++; at < lines.length; at++) {
      const space = /^ */.exec(lines[at])[0].length, blank = lines[at].trim() === "";
      if (!blank && space <= indent && (ITEM.test(lines[at]) || lines[at - 1].trim() === "")) break;
      if (!blank && space <= indent && starts_block(lines, at)) break;
      body.push(lines[at].slice(Math.min(space, inner)));
    }
    items.push(el("li", {}, ...blocks(body, level + 1, true)));
  }
  const start = ordered && first[2].slice(0, -1) !== "1" ? first[2].slice(0, -1) : null;
  out.push(el(ordered ? "ol" : "ul", {start}, ...items));
  return at;
}

function starts_block(lines, at) {
  const line = lines[at];
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);
}

function is_table(lines, at) {
  return at + 1 < lines.length && lines[at].includes("|") && TABLE_RULE.test(lines[at + 1]) &&
    lines[at + 1].includes("-") && cells(lines[at]).length === cells(lines[at + 1]).length;
}

// tight: a lone paragraph needs no <p>, as in items of lists.
function blocks(lines, level, tight) {
  const out = [];
  for (let at = 0; at < lines.length;) {
    const line = lines[at], heading = HEADING.exec(line);
    if (line.trim() === "") at++;
    else if (level > MOST_LEVELS) out.push(el("p", {}, lines[at++]));
    else if (FENCE.test(line)) at = take_fence(lines, at, out);
    else if (heading) {
      // Below the headings of the page itself.
      out.push(el(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])));
      at++;
    } else if (RULE.test(line)) out.push(el("hr")), at++;
    else if (QUOTE.test(line)) {
      const body = [];
      for (; at < lines.length && QUOTE.test(lines[at]); at++) body.push(lines[at].replace(QUOTE, ""));
      out.push(el("blockquote", {}, ...blocks(body, level + 1, false)));
    } else if (ITEM.test(line)) at = take_list(lines, at, out, level);
    else if (is_table(lines, at)) at = take_table(lines, at, out);
    else {
      const body = [line];
      for (at++; at < lines.length && lines[at].trim() !== "" && !starts_block(lines, at) && !is_table(lines, at); at++)
        body.push(lines[at]);
      const children = inline(body.join("\n").trim());
      if (tight && out.length === 0) out.push(...children);
      else out.push(el("p", {}, ...children));
    }
  }
  return out;
}

// The nodes of a text.
export function markdown(text) {
  return blocks(text.replaceAll("\r\n", "\n").replaceAll("\t", "    ").split("\n"), 0, false);
}
