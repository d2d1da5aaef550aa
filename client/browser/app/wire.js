// One call's way to the server: a WebSocket, and another one when the first is lost.

import { gone, ofAnswer, ofClose, unreachable } from "./problems.js";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;
const OPEN_MS = 10000; // for the server to take a call
const NEVER_FOR_LONG = new Set([1005, 1006, 1001]); // closed by nobody's wish: worth another try
const STUCK_BYTES = 512 * 1024; // unsent, about 8 s of audio: the network is gone
const STEADY_MS = 5000; // a socket that held so long ends an outage; one that opens may close at once
const SEEN = 4000; // event ids that are remembered, against those that come twice

const NOT_THE_CALLS = ["probe", "transport", "resume", "after"]; // of a page's query

/**
 * The address of a call. `page` is where the page came from: without a `url` the server is beside it,
 * below whatever path a proxy has put before both, and is asked with the page's own query.
 */
export function callUrl({ url, model }, page) {
  const address = new URL(url || "v1/realtime", page);
  address.protocol = address.protocol.replace("http", "ws");
  if (!url) {
    address.search = new URL(page).search;
    for (const name of NOT_THE_CALLS) address.searchParams.delete(name);
  }
  if (model) address.searchParams.set("model", model);
  return address;
}

/**
 * Events: `open`; `event` (detail: a server event); `waiting` (the socket is lost and
 * another is tried); `resumed`; `closed` (detail: a problem, null after `close`).
 */
export class Wire extends EventTarget {
  constructor(options) {
    super();
    this.options = options;
    this.url = callUrl(options, globalThis.location?.href);
    this.socket = null;
    this.token = null; // set when the server offers to take the call up again
    this.resumeMs = 0;
    this.lastId = "";
    this.seen = new Set();
    this.lastError = null;
    this.wasOpen = false;
    this.isOver = false;
    this.waitingSince = null; // set while there is no socket
    this.openedAt = 0; // of the last socket that opened
    this.lostSince = null; // set from a first loss until a socket was steady
    this.waitMs = FIRST_WAIT_MS;
    this.timer = null;
    this.lose = () => this.socket?.readyState === WebSocket.OPEN && this.abandon();
    this.hurry = () => this.waitingSince !== null && this.again(0);
  }

  open() {
    globalThis.addEventListener?.("offline", this.lose);
    globalThis.addEventListener?.("online", this.hurry);
    this.connect();
  }

  /** Returns whether it was sent. While the socket is lost nothing is. */
  send(event) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    if (this.socket.bufferedAmount > STUCK_BYTES) {
      this.abandon();
      return false;
    }
    this.socket.send(JSON.stringify(event));
    return true;
  }

  close() {
    this.finish(null);
  }

  connect() {
    const protocols = ["realtime"];
    if (this.options.key) protocols.push(`openai-insecure-api-key.${this.options.key}`);
    const url = new URL(this.url);
    if (this.waitingSince !== null) {
      url.searchParams.set("resume", this.token);
      url.searchParams.set("after", this.lastId);
    }
    let socket;
    try {
      socket = new WebSocket(url, protocols);
    } catch {
      this.finish(ofAnswer(401)); // a key that no sub-protocol can carry
      return;
    }
    this.socket?.close(); // one that is still trying
    this.socket = socket;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => socket === this.socket && this.abandon(), OPEN_MS);
    socket.onopen = () => socket === this.socket && this.opened();
    socket.onmessage = ({ data }) => socket === this.socket && this.receive(data);
    socket.onclose = ({ code, reason }) => socket === this.socket && this.lost(code, reason);
  }

  opened() {
    const returned = this.waitingSince !== null;
    clearTimeout(this.timer);
    this.waitingSince = null;
    this.openedAt = performance.now();
    this.wasOpen = true;
    this.dispatchEvent(new Event(returned ? "resumed" : "open"));
  }

  receive(data) {
    const event = JSON.parse(data);
    if (this.isKnown(event.event_id)) return;
    if (event.type === "error") this.lastError = event.error;
    if (event.type === "duplex.resume") {
      this.token = event.token;
      this.resumeMs = event.resume_s * 1000;
    }
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  /** Whether it came before. Only servers that take calls up again send twice, and number all. */
  isKnown(id) {
    if (typeof id !== "string") return false;
    if (this.token !== null && this.seen.has(id)) return true;
    this.seen.add(id);
    if (this.seen.size > SEEN) this.seen.delete(this.seen.values().next().value);
    this.lastId = id;
    return false;
  }

  /** The socket is taken for dead, whatever it says itself. */
  abandon() {
    const { socket } = this;
    this.socket = null;
    socket.close();
    this.lost(1006, "");
  }

  lost(code, reason) {
    if (this.isOver) return;
    if (this.wasOpen && this.token && NEVER_FOR_LONG.has(code)) this.retry();
    else if (this.wasOpen) this.finish(ofClose(code, reason, this.lastError));
    else this.explain();
  }

  retry() {
    const now = performance.now();
    if (this.waitingSince === null) {
      if (this.lostSince === null || now - this.openedAt > STEADY_MS) {
        this.lostSince = now;
        this.waitMs = FIRST_WAIT_MS;
      }
      this.waitingSince = now;
      this.dispatchEvent(new Event("waiting"));
    }
    if (now - this.lostSince > this.resumeMs) {
      this.finish(gone());
      return;
    }
    this.again(this.waitMs);
    this.waitMs = Math.min(2 * this.waitMs, LONGEST_WAIT_MS);
  }

  again(waitMs) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), waitMs);
  }

  /** Browsers do not tell why a call was refused; the same request without the upgrade does. */
  async explain() {
    const url = new URL(this.url);
    url.protocol = url.protocol.replace("ws", "http");
    const headers = this.options.key ? { Authorization: `Bearer ${this.options.key}` } : {};
    let why = unreachable();
    try {
      const answer = await fetch(url, { headers, cache: "no-store" });
      const body = await answer.json().catch(() => null);
      // Told to upgrade: all is well but what only the upgrade shows, the page's origin.
      const status = answer.status === 426 ? 403 : answer.status;
      why = ofAnswer(status, body?.error?.message, globalThis.location?.origin) ?? why;
    } catch {
      // No answer at all is what `why` says already.
    }
    this.finish(why);
  }

  finish(problem) {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.timer);
    globalThis.removeEventListener?.("offline", this.lose);
    globalThis.removeEventListener?.("online", this.hurry);
    this.socket?.close(1000);
    this.socket = null;
    this.dispatchEvent(new CustomEvent("closed", { detail: problem }));
  }
}
