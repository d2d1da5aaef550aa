// One call's way to the server over WebRTC: the sound on tracks, the events on a data channel. The
// server plays, clears and cuts what it says; a Wire's events and methods are the same here.

import { WIRE_HZ } from "./pcm.js";
import { lost, ofAnswer, ofClose, unreachable } from "./problems.js";
import { callUrl } from "./wire.js";

const CHANNEL = "oai-events";
const OPEN_MS = 15000; // for the channel to open
const LOST_MS = 5000; // of a connection that a network's change has broken
const TELL_MS = 100; // between two words on how far it was heard
const SAMPLES_A_CHARACTER = 1600; // of speech, about: the sound comes without its words

/** The address at which a call begins. */
export function offerUrl(options, page) {
  const url = callUrl(options, page);
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = `${url.pathname.replace(/\/$/, "")}/calls`;
  return url;
}

/** Events: those of `Wire`, but that a connection is not taken up again; `track` (detail: a stream). */
export class PeerWire extends EventTarget {
  constructor(options) {
    super();
    this.options = options;
    this.connection = null;
    this.channel = null;
    this.sender = null;
    this.place = null; // set when the call has begun: where it is hung up
    this.lastError = null;
    this.wasOpen = false;
    this.isOver = false;
    this.timer = null;
    this.sounding = null; // {item, since}: what is heard
    this.items = new Map(); // response -> its message that is heard
    this.telling = null;
  }

  async open() {
    const connection = new RTCPeerConnection();
    this.connection = connection;
    this.sender = connection.addTransceiver("audio", { direction: "sendrecv" }).sender;
    connection.ontrack = ({ track }) => {
      this.dispatchEvent(new CustomEvent("track", { detail: new MediaStream([track]) }));
    };
    connection.onconnectionstatechange = () => this.stateChanged();
    const channel = connection.createDataChannel(CHANNEL);
    this.channel = channel;
    channel.onopen = () => this.opened();
    channel.onmessage = ({ data }) => this.receive(JSON.parse(data));
    channel.onclose = () => this.finish(ofClose(this.lastError ? 0 : 1000, "", this.lastError));
    this.timer = setTimeout(() => this.finish(unreachable()), OPEN_MS);
    try {
      await connection.setLocalDescription();
      await this.offer();
    } catch {
      this.finish(unreachable());
    }
  }

  async offer() {
    const url = offerUrl(this.options, globalThis.location?.href);
    const body = new FormData();
    body.append("sdp", this.connection.localDescription.sdp);
    // The sound may be there before the channel is open, and the server greets at the first of it.
    body.append("session", JSON.stringify(this.options.session ?? {}));
    const answer = await fetch(url, { method: "POST", headers: this.key(), body });
    const text = await answer.text();
    if (answer.status !== 201) {
      this.finish(ofAnswer(answer.status, messageIn(text), globalThis.location?.origin) ?? unreachable());
      return;
    }
    const id = (answer.headers.get("Location") ?? "").split("/").pop();
    this.place = new URL(`${url.pathname}/${id}/hangup`, url);
    if (this.isOver) this.leave();
    else await this.connection.setRemoteDescription({ type: "answer", sdp: text });
  }

  key() {
    return this.options.key ? { Authorization: `Bearer ${this.options.key}` } : {};
  }

  /** Have the server hear this stream, or nothing. */
  listenTo(stream) {
    this.sender?.replaceTrack(stream?.getAudioTracks()[0] ?? null);
  }

  send(event) {
    if (this.channel?.readyState !== "open") return false;
    this.channel.send(JSON.stringify(event));
    return true;
  }

  close() {
    this.finish(null);
  }

  opened() {
    clearTimeout(this.timer);
    this.wasOpen = true;
    this.dispatchEvent(new Event("open"));
  }

  receive(event) {
    if (event.type === "error") this.lastError = event.error;
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
    this.follow(event);
  }

  /** Tell what a Wire's sound would: what is heard of each message, and when it begins and ends. */
  follow(event) {
    const { type, response_id: response } = event;
    if (type === "response.output_item.added" && event.item.type === "message") {
      this.items.set(response, event.item.id);
    } else if (type === "response.output_audio_transcript.delta") {
      this.tell({ type: "local.voiced", response_id: response, samples: event.delta.length * SAMPLES_A_CHARACTER });
    } else if (type === "output_audio_buffer.started") {
      this.began(this.items.get(response));
    } else if (type === "output_audio_buffer.stopped") {
      if (this.sounding) this.tell({ type: "local.played", item_id: this.sounding.item, samples: Infinity });
      this.ended(response);
    } else if (type === "output_audio_buffer.cleared") {
      const item = this.items.get(response);
      const heard = this.sounding?.item === item ? this.heardSamples() : 0;
      if (item) this.tell({ type: "local.cut", item_id: item, samples: heard });
      this.ended(response);
    }
  }

  began(item) {
    const at_ms = performance.now();
    this.sounding = { item, since: at_ms };
    for (const name of ["received", "started", "audible"]) {
      this.tell({ type: "local.mark", item_id: item, name, at_ms });
    }
    clearInterval(this.telling);
    this.telling = setInterval(() => {
      this.tell({ type: "local.played", item_id: item, samples: this.heardSamples() });
    }, TELL_MS);
  }

  heardSamples() {
    return ((performance.now() - this.sounding.since) * WIRE_HZ) / 1000;
  }

  ended(response) {
    clearInterval(this.telling);
    this.sounding = null;
    this.items.delete(response);
  }

  tell(event) {
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  stateChanged() {
    const state = this.connection.connectionState;
    clearTimeout(this.timer);
    if (state === "failed") this.finish(this.wasOpen ? lost() : unreachable());
    else if (state === "disconnected") this.timer = setTimeout(() => this.finish(lost()), LOST_MS);
    else if (!this.wasOpen) this.timer = setTimeout(() => this.finish(unreachable()), OPEN_MS);
  }

  /** The server learns at once that the call is over, also where the page is left. */
  leave() {
    if (this.place) fetch(this.place, { method: "POST", headers: this.key(), keepalive: true }).catch(() => null);
    this.place = null;
  }

  finish(problem) {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.timer);
    clearInterval(this.telling);
    this.leave();
    this.channel?.close();
    this.connection?.close();
    this.dispatchEvent(new CustomEvent("closed", { detail: problem }));
  }
}

function messageIn(text) {
  try {
    return JSON.parse(text)?.error?.message;
  } catch {
    return "";
  }
}
