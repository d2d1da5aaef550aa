// A spoken call to any server of the OpenAI Realtime API. Import this to put one in a page of yours:
//
//   const call = new RealtimeCall({ url: "wss://host/v1/realtime", key: "..." });
//   call.addEventListener("event", ({ detail }) => console.log(detail.type));
//   button.onclick = () => call.start();

import { WIRE_HZ, base64OfPcm16, pcm16OfBase64 } from "./pcm.js";
import { insecure, ofMicrophone, ofSpeaker } from "./problems.js";
import { Sound } from "./sound.js";
import { Wire } from "./wire.js";

const REMEMBERED_PACKETS = 3000; // 60 s, to find when a sample was taken
const SHORTEST_PRESS_MS = 150; // the server refuses to commit less than 100 ms
const FORMAT = { type: "audio/pcm", rate: WIRE_HZ };
const UNTOLD = new Set([
  "response_cancel_not_active", // it ended by itself as we cancelled
  "server_full", "server_stopping", "resume_failed", "call_over", // told when the socket closes
]);

const now = () => performance.now();

/**
 * Events, each a CustomEvent:
 *   phase    connecting | open | waiting | over
 *   event    a server event, or one of ours, whose type begins with "local.":
 *              local.mark {item_id, name, at_ms}, name: received, started, audible
 *              local.played {item_id, samples}; local.cut {item_id, samples}
 *              local.turn {at_ms, written}: the caller's turn was over, null where that is not known
 *   problem  {kind, title, text, retry}
 *   level    {direction: "in" | "out", level}
 *   tap      what the microphone gave and the speaker was given, for tests
 */
export class RealtimeCall extends EventTarget {
  /**
   * `session` is laid over what is asked of the server; `extras` are this project's own events
   * ({metrics, thoughts, resume}; null for servers that do not know them).
   */
  constructor({
    url, key, model, voice, session = {}, extras = { metrics: true, thoughts: true, resume: true },
    pushToTalk = false, microphone = "", tap = false,
  } = {}) {
    super();
    this.options = { voice, session, extras, microphone };
    this.phase = "idle";
    this.isMuted = false;
    this.pushToTalk = pushToTalk;
    this.pressedAt = null; // set while the key is held
    this.detection = undefined; // the server's own, as it told it
    this.response = null; // the id of the response being made
    this.sentSamples = 0;
    this.packets = []; // {end, time}: `end` samples were sent when that of `time` was taken
    this.sounding = new Map(); // item -> {response, part}; until it was played or cut
    this.wire = new Wire({ url, key, model });
    this.sound = new Sound({ tap });
    this.connect();
  }

  /** Begin. To be called where a click or a key is handled. */
  async start() {
    this.enter("connecting");
    if (!globalThis.isSecureContext || !globalThis.AudioWorkletNode) {
      this.wire.finish(insecure());
      return;
    }
    try {
      await this.sound.open();
    } catch (error) {
      if (this.phase !== "over") this.wire.finish(ofSpeaker(error)); // else that is why
    }
    if (this.phase === "over") return;
    this.wire.open();
    await this.listen(this.options.microphone);
  }

  /**
   * Use this microphone (an id of enumerateDevices), "" for the usual one. Without one the call
   * goes on in writing.
   */
  async listen(deviceId) {
    try {
      await this.sound.listen(deviceId);
    } catch (error) {
      if (this.phase === "over") return;
      this.tell("problem", ofMicrophone(error));
    }
    this.tell("microphone", { isListening: this.sound.isListening });
  }

  hangUp() {
    this.wire.close();
  }

  mute(isMuted) {
    this.isMuted = isMuted;
  }

  /** Say nothing more of this answer. */
  async stop() {
    if (this.response) this.send({ type: "response.cancel", response_id: this.response });
    await this.silence();
  }

  /** A turn in writing. */
  async say(text) {
    await this.stop();
    const content = [{ type: "input_text", text }];
    this.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    this.answer({ written: true });
  }

  setVoice(voice) {
    this.send({ type: "session.update", session: { type: "realtime", audio: { output: { voice } } } });
  }

  /** Ask for this project's own events, or not: {metrics, thoughts}. */
  setExtras(extras) {
    this.send({ type: "session.update", session: { type: "realtime", duplex: extras } });
  }

  /** Whether turns are begun and ended by `press` and `release`, or by the server. */
  setPushToTalk(pushToTalk) {
    this.pushToTalk = pushToTalk;
    this.pressedAt = null;
    const detection = pushToTalk ? null : (this.detection ?? { type: "server_vad" });
    this.send({
      type: "session.update",
      session: { type: "realtime", audio: { input: { turn_detection: detection } } },
    });
  }

  press() {
    if (this.pressedAt !== null || this.phase !== "open") return;
    this.pressedAt = now();
    this.stop();
    this.send({ type: "input_audio_buffer.clear" });
  }

  release() {
    if (this.pressedAt === null) return;
    const heldMs = now() - this.pressedAt;
    this.pressedAt = null;
    if (heldMs < SHORTEST_PRESS_MS || !this.sound.isListening) return;
    this.send({ type: "input_audio_buffer.commit" });
    this.answer({ written: false });
  }

  /** When the sample of the stream that was sent so many milliseconds in was taken. */
  takenAtMs(streamMs) {
    const sample = (streamMs * WIRE_HZ) / 1000;
    const packet = this.packets.find(({ end }) => end >= sample);
    if (!packet) return null;
    return this.sound.takenAtMs(packet.time - (packet.end - sample) / WIRE_HZ);
  }

  send(event) {
    return this.wire.send(event);
  }

  answer({ written }) {
    this.tell("event", { type: "local.turn", at_ms: now(), written });
    this.send({ type: "response.create" });
  }

  connect() {
    this.wire.addEventListener("open", () => this.send(this.opening()));
    this.wire.addEventListener("event", ({ detail }) => this.receive(detail));
    this.wire.addEventListener("waiting", () => this.enter("waiting"));
    this.wire.addEventListener("resumed", () => this.enter("open"));
    this.wire.addEventListener("closed", ({ detail }) => this.over(detail));
    this.sound.addEventListener("packet", ({ detail }) => this.heard(detail));
    this.sound.addEventListener("playout", ({ detail }) => this.played(detail));
    this.sound.addEventListener("tap", ({ detail }) => this.tell("tap", detail));
    this.sound.addEventListener("ended", () => {
      this.sound.letGo();
      const error = new DOMException("", "NotFoundError");
      this.tell("problem", ofMicrophone(error));
      this.tell("microphone", { isListening: false });
    });
  }

  opening() {
    const { voice, session, extras } = this.options;
    const input = { format: FORMAT, transcription: { model: "whisper-1" } };
    if (this.pushToTalk) input.turn_detection = null;
    const output = { format: FORMAT, ...(voice ? { voice } : {}) };
    const wanted = { type: "realtime", output_modalities: ["audio"], audio: { input, output } };
    if (extras) wanted.duplex = extras;
    return { type: "session.update", session: { ...wanted, ...session } };
  }

  receive(event) {
    const { type } = event;
    if (type === "session.created") {
      this.detection = event.session.audio?.input?.turn_detection;
      this.enter("open");
    } else if (type === "input_audio_buffer.speech_started") this.silence();
    else if (type === "response.created") this.response = event.response.id;
    else if (type === "response.output_audio.delta") this.receiveAudio(event);
    else if (type === "response.output_audio.done") this.endAudio(event.item_id);
    else if (type === "response.done" && event.response.id === this.response) this.response = null;
    this.tell("event", event);
    if (type === "input_audio_buffer.speech_stopped") {
      this.tell("event", { type: "local.turn", at_ms: this.takenAtMs(event.audio_end_ms) });
    }
    if (type === "error") this.complain(event.error);
  }

  receiveAudio({ item_id: item, content_index: part, delta }) {
    if (!this.sounding.has(item)) {
      this.sounding.set(item, { part, isCut: false });
      this.tell("event", { type: "local.mark", item_id: item, name: "received", at_ms: now() });
    }
    // What was on its way as it was cut is not begun again.
    if (!this.sounding.get(item).isCut) this.sound.play(item, pcm16OfBase64(delta));
  }

  endAudio(item) {
    if (this.sounding.get(item)?.isCut) this.sounding.delete(item);
    else this.sound.end(item);
  }

  /** Stop what sounds, and tell the server how much of it was heard. */
  async silence() {
    const waiting = [...this.sounding].filter(([, { isCut }]) => !isCut);
    if (waiting.length === 0) return;
    for (const [, sounding] of waiting) sounding.isCut = true;
    const played = new Map((await this.sound.flush()).map(({ item, samples }) => [item, samples]));
    for (const [item, { part }] of waiting) {
      if (!played.has(item)) continue; // all of it was heard
      const samples = played.get(item);
      this.send({
        type: "conversation.item.truncate",
        item_id: item,
        content_index: part,
        audio_end_ms: Math.floor((samples * 1000) / WIRE_HZ),
      });
      this.tell("event", { type: "local.cut", item_id: item, samples });
    }
  }

  heard({ pcm, level, time }) {
    const isHeld = this.pushToTalk && this.pressedAt === null;
    const isSilent = this.isMuted || isHeld;
    this.tell("level", { direction: "in", level: isSilent ? 0 : level });
    if (this.phase !== "open" || isHeld) return;
    if (this.isMuted) pcm.fill(0); // time goes on, for the server too
    if (!this.send({ type: "input_audio_buffer.append", audio: base64OfPcm16(pcm) })) return;
    this.sentSamples += pcm.length;
    this.packets.push({ end: this.sentSamples, time });
    if (this.packets.length > REMEMBERED_PACKETS) this.packets.shift();
  }

  played(notice) {
    const { kind, item } = notice;
    if (kind === "position") {
      this.tell("level", { direction: "out", level: notice.level });
      if (item) this.tell("event", { type: "local.played", item_id: item, samples: notice.samples });
    } else if (kind === "started" || kind === "audible") {
      const at_ms = this.sound.heardAtMs(notice.time);
      this.tell("event", { type: "local.mark", item_id: item, name: kind, at_ms });
    } else if (kind === "finished") {
      this.sounding.delete(item);
      this.tell("event", { type: "local.played", item_id: item, samples: Infinity });
    } else if (kind === "underrun") {
      this.tell("underrun", notice);
    }
  }

  complain(error) {
    if (UNTOLD.has(error.code)) return;
    const text = error.message ?? "The server reported an error without a message.";
    this.tell("problem", { kind: "error", title: "The server could not do that", text });
  }

  over(problem) {
    this.sound.close();
    this.sounding.clear();
    this.response = null;
    if (problem) this.tell("problem", problem);
    this.enter("over");
  }

  enter(phase) {
    this.phase = phase;
    this.tell("phase", phase);
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
