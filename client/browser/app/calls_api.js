// What the page of calls asks of the server. The key is kept until the tab is closed.

const NAME = "duplex.admin_key";
let known = ""; // where the browser keeps nothing, it holds until the page is left

export class Refused extends Error {}

export function key() {
  try {
    return sessionStorage.getItem(NAME) ?? known;
  } catch {
    return known;
  }
}

export function setKey(value) {
  known = value;
  try {
    if (value) sessionStorage.setItem(NAME, value);
    else sessionStorage.removeItem(NAME);
  } catch {
    // It keeps nothing.
  }
}

/** {running, recorded, has_more, records}; the recorded ones before that of an id, or the newest. */
export function calls(before = "") {
  return ask(`v1/calls${before ? `?before=${encodeURIComponent(before)}` : ""}`);
}

/** {call, transcript, files} of one that was recorded. */
export function call(id) {
  return ask(`v1/calls/${encodeURIComponent(id)}`);
}

export function remove(id) {
  return ask(`v1/calls/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** Throws Refused if the key is not good, and Error with words for people else. */
async function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${key()}` };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new Refused("The server does not know this key.");
  if (!answer.ok) throw new Error(told.error?.message ?? `The server says ${answer.status}.`);
  return told;
}
