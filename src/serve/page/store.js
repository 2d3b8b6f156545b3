// SPDX-License-Identifier: MIT
// What outlives the page: settings and conversations in localStorage, the API key in sessionStorage, which ends with the
// tab. A browser that forbids storage, or has no room, leaves a page that works and forgets.

const PLACE = "slm.page";
const EMPTY = {version: 1, theme: "", model: "", settings: {}, sides: [{}, {}], talks: [], talk: ""};

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(PLACE));
    if (kept && kept.version === EMPTY.version && Array.isArray(kept.talks)) return {...EMPTY, ...kept};
  } catch { /* nothing there, or nothing that can be read: begin anew */ }
  return structuredClone(EMPTY);
}

export const state = read();

let told = false;

// False: the browser has no room. Said once a page.
export function save() {
  try {
    localStorage.setItem(PLACE, JSON.stringify(state));
    return true;
  } catch {
    const first = !told;
    told = true;
    return !first;
  }
}

let unkept = ""; // the key where the browser keeps nothing

export function key() {
  try { return sessionStorage.getItem(PLACE + ".key") ?? ""; } catch { return unkept; }
}

export function set_key(value) {
  unkept = value;
  try { sessionStorage.setItem(PLACE + ".key", value); } catch { /* this page alone has it then */ }
}
