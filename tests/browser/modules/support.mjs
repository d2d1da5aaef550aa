// A socket and a call without a browser. Nothing here waits in earnest.

export const sockets = [];

class FakeSocket {
  static OPEN = 1;

  constructor(url) {
    Object.assign(this, { url: String(url), readyState: 1, bufferedAmount: 0, sent: [] });
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  /** The server's: `event` without an id of its own gets one. */
  tell(event) {
    this.told = (this.told ?? 0) + 1;
    this.onmessage({ data: JSON.stringify({ event_id: `e${sockets.length}.${this.told}`, ...event }) });
  }

  drop(code = 1006) {
    this.readyState = 3;
    this.onclose({ code, reason: "" });
  }

  /** The types of what was sent, but for sound. */
  get types() {
    return this.sent.map(({ type }) => type).filter((type) => type !== "input_audio_buffer.append");
  }
}

globalThis.WebSocket = FakeSocket;
globalThis.location = { href: "http://page.example/", origin: "http://page.example" };

const { RealtimeCall } = await import("../../../client/browser/app/realtime.js");

/** A call that is open, whose sound plays nothing and keeps what it was given in `played`. */
export function openCall(options = {}) {
  const call = new RealtimeCall(options);
  const { sound } = call;
  const told = [];
  const played = [];
  sound.flush = async () => [];
  sound.play = (item) => played.push(item);
  sound.end = () => {};
  sound.takenAtMs = (time) => time * 1000;
  sound.stream = { getTracks: () => [], getAudioTracks: () => [] }; // a microphone
  sound.close = () => {};
  call.addEventListener("event", ({ detail }) => told.push(detail));
  call.wire.open();
  const socket = sockets.at(-1);
  socket.onopen();
  socket.tell({ type: "session.created", session: {} });
  socket.sent.length = 0;
  return { call, socket, told, played };
}

/** All that is to be done now is done. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));
