// SPDX-License-Identifier: MIT
// One answer on the page while it grows: thinking in a fold, content as Markdown, below it how fast it came. Drawn at
// most once a frame, whatever the number of pieces.

import {chat} from "./api.js";
import {el, number, seconds} from "./dom.js";
import {markdown} from "./markdown.js";

const reasons = {length: "ended at the most tokens", stop: "", stopped: "stopped"};

export function summary(how) {
  if (!how) return "";
  const parts = [];
  if (how.tokens) parts.push(`${how.tokens} tokens`);
  if (how.rate) parts.push(`${number(how.rate)} tokens/s`);
  if (how.ttft !== null && how.ttft !== undefined) parts.push(`first after ${seconds(how.ttft)}`);
  if (reasons[how.finish]) parts.push(reasons[how.finish]);
  return parts.join(" · ");
}

// Where an answer is shown: fill(message) draws what a message {thinking, content, how, error} has so far.
export function answer_view() {
  const thoughts = el("div", {class: "thoughts"});
  const title = el("summary", {}, "Thinking");
  const fold = el("details", {class: "thinking", hidden: true}, title, thoughts);
  const content = el("div", {class: "content"});
  const line = el("p", {class: "how"});
  const error = el("p", {class: "error", role: "alert", hidden: true});
  let drawn_thinking = "", drawn_content = null;
  const fill = (message, busy = false) => {
    fold.hidden = !message.thinking;
    title.textContent = busy && !message.content ? "Thinking …" : "Thinking";
    if (message.thinking !== drawn_thinking) thoughts.textContent = drawn_thinking = message.thinking;
    if (message.content !== drawn_content) content.replaceChildren(...markdown(drawn_content = message.content));
    content.classList.toggle("waits", busy && !message.content);
    line.textContent = summary(message.how);
    error.hidden = !message.error;
    error.textContent = message.error ?? "";
  };
  return {nodes: [fold, content, line, error], fill};
}

// Asks, and draws into view; keeps everything in message. Never throws: what went wrong is in message.error.
export async function run(request, message, view, signal) {
  let frame = 0;
  const draw = () => {
    frame = 0;
    view.fill(message, true);
  };
  Object.assign(message, {thinking: "", content: "", how: null, error: null});
  draw();
  try {
    message.how = await chat(request, signal, ({thinking, content}, how) => {
      message.thinking += thinking;
      message.content += content;
      message.how = {...how};
      frame ||= requestAnimationFrame(draw);
    });
  } catch (error) {
    if (signal.aborted) message.how = {...message.how, finish: "stopped"};
    else message.error = error.message;
  }
  cancelAnimationFrame(frame);
  view.fill(message);
}
