// SPDX-License-Identifier: MIT
// Talking to the server that sent this page, and to no other: its OpenAI API for chats, Ollama's for models, /metrics.

import {key} from "./store.js";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Whoever shows a field for keys sets this.
export const hooks = {needs_key: () => {}};

async function ask(path, options = {}) {
  const headers = {...options.headers};
  if (key()) headers.Authorization = `Bearer ${key()}`;
  let reply;
  try {
    reply = await fetch(new URL(path, document.baseURI), {...options, headers});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  if (reply.ok) return reply;
  if (reply.status === 401) hooks.needs_key();
  throw new ApiError(reply.status, message_of(await reply.text()) || `The server answers ${reply.status}.`);
}

// Each API has its own shape for errors.
function message_of(text) {
  try {
    const body = JSON.parse(text);
    return body.error?.message ?? (typeof body.error === "string" ? body.error : "");
  } catch {
    return text.slice(0, 300);
  }
}

export const get = async (path) => (await ask(path)).json();
export const get_text = async (path) => (await ask(path)).text();

const as_json = (body) => ({method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
export const post = async (path, body) => (await ask(path, as_json(body))).json();

// The data of server-sent events, as they come.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", data = [];
  for (;;) {
    const {value, done} = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
      else if (line === "" && data.length) {
        yield data.join("\n");
        data = [];
      }
    }
    if (done) return;
  }
}

// One answer. on_text({thinking, content}) for each piece; returns how it went: seconds to the first piece, tokens a
// second after it, tokens, and why it ended.
export async function chat(request, signal, on_text) {
  const start = performance.now();
  const how = {ttft: null, rate: null, tokens: 0, prompt: null, finish: null};
  let first = 0;
  const reply = await ask("v1/chat/completions", {
    ...as_json({...request, stream: true, stream_options: {include_usage: true}}), signal});
  for await (const data of events(reply.body)) {
    if (data === "[DONE]") break;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(reply.status, event.error.message ?? "The answer broke off.");
    if (event.usage) [how.prompt, how.tokens] = [event.usage.prompt_tokens, event.usage.completion_tokens];
    const choice = event.choices?.[0];
    how.finish = choice?.finish_reason ?? how.finish;
    const thinking = choice?.delta?.reasoning_content ?? "", content = choice?.delta?.content ?? "";
    if (!thinking && !content) continue;
    const now = performance.now();
    if (!first) [first, how.ttft] = [now, (now - start) / 1000];
    how.tokens++;
    how.rate = now > first ? (how.tokens - 1) / (now - first) * 1000 : null;
    on_text({thinking, content}, how);
  }
  if (first && how.tokens > 1) how.rate = (how.tokens - 1) / (performance.now() - first) * 1000;
  return how;
}
