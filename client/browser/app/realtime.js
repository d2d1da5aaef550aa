// A spoken call to any server of the OpenAI Realtime API. Import this to put one in a page of yours:
//
//   const call = new RealtimeCall({ url: "wss://host/v1/realtime", key: "..." });
//   call.addEventListener("event", ({ detail }) => console.log(detail.type));
//   button.onclick = () => call.start();

import { WIRE_HZ, base64OfPcm16, pcm16OfBase64 } from "./pcm.js";
import { asleep, insecure, ofMicrophone, ofSpeaker, otherMicrophone } from "./problems.js";
import { Sound, within } from "./sound.js";
import { PeerWire } from "./webrtc.js";
import { Wire } from "./wire.js";

const REMEMBERED_PACKETS = 3000; // 60 s, to find when a sample was taken
const SHORTEST_PRESS_MS = 150; // the server refuses to commit less than 100 ms
const METER_MS = 40;
const EMPTY_MS = 30000; // the server's buffer holds two minutes, unless it is configured otherwise
const FLUSH_MS = 500; // for the audio thread to say what was heard; it may be asleep
const ACTIVE = "conversation_already_has_active_response";
const HELLO_SAMPLES = WIRE_HZ / 10; // of silence
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
 *              local.turn {at_ms, written}: the caller's turn was over, null where that is not known,
 *              as after a connection was lost: how much sound was lost with it nobody can tell
 *   problem  {kind, title, text, retry}; solved {kind}: it is none any more
 *   level    {direction: "in" | "out", level}
 *   tap      what the microphone gave and the speaker was given, for tests
 */
export class RealtimeCall extends EventTarget {
  /**
   * `session` is laid over what is asked of the server; `extras` are this project's own events
   * ({metrics, thoughts, resume, greeting}; null for servers that do not know them). `transport`
   * is "websocket" or "webrtc".
   */
  constructor({
    url, key, model, voice, session = {}, extras = { metrics: true, thoughts: true, resume: true },
    pushToTalk = false, microphone = "", tap = false, transport = "websocket",
  } = {}) {
    super();
    this.options = { voice, session, extras, microphone };
    this.phase = "idle";
    this.isMuted = false;
    this.pushToTalk = pushToTalk;
    this.pressedAt = null; // set while the key is held
    this.detection = undefined; // the server's own, as it told it
    this.response = null; // {id, isCancelled}: the response being made
    this.isGreeted = !extras?.greeting; // whether the greeting was asked for
    this.asked = null; // the event_id of a response.create, until that response is created
    this.isUnwanted = false; // whether what is asked is to be cancelled when it is created
    this.toAsk = null; // {at_ms, written}: to be asked when the other response is done
    this.numbered = 0;
    this.sentSamples = 0;
    this.packets = []; // {end, time}: `end` samples were sent when that of `time` was taken
    this.isAdrift = false; // whether the server may have got fewer than were sent
    this.sounding = new Map(); // item -> {part, samples, isCut, isWhole}, until played or cut
    this.overTracks = transport === "webrtc"; // the sound: the server plays and hears it there
    if (this.overTracks) this.isAdrift = true; // when a sample was taken only the browser knows
    const { session: wanted } = this.opening();
    this.wire = new (this.overTracks ? PeerWire : Wire)({ url, key, model, session: wanted });
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
      if (!(await this.sound.listen(deviceId))) this.tell("problem", otherMicrophone());
    } catch (error) {
      if (this.phase === "over") return;
      this.tell("problem", ofMicrophone(error));
    }
    this.toTrack();
    this.tell("microphone", { isListening: this.sound.isListening });
  }

  /** Have the track carry what the person says, silence while that is not wanted. */
  toTrack() {
    if (!this.overTracks) return;
    const { stream } = this.sound;
    const isHeld = this.pushToTalk && this.pressedAt === null;
    for (const track of stream?.getAudioTracks() ?? []) track.enabled = !this.isMuted && !isHeld;
    this.wire.listenTo(stream);
  }

  hangUp() {
    this.wire.close();
  }

  mute(isMuted) {
    this.isMuted = isMuted;
    this.toTrack();
  }

  /** Let the sound go on after it slept. To be called where a click or a key is handled. */
  wake() {
    return this.sound.wake();
  }

  /** Say nothing more of this answer. */
  async stop() {
    this.toAsk = null;
    if (this.response) this.cancel();
    else if (this.asked) this.isUnwanted = true; // it has no id yet
    await this.silence();
  }

  /** A turn in writing. */
  async say(text) {
    const silent = this.stop();
    const content = [{ type: "input_text", text }];
    this.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    await silent; // so that the answer is made knowing what was heard of the one before
    this.answer({ written: true });
  }

  /** What a tool gives that the model has called: it goes on with it. */
  giveResult(callId, output) {
    const item = { type: "function_call_output", call_id: callId, output };
    this.send({ type: "conversation.item.create", item });
    this.answer({ written: true });
  }

  /** The tools that it may call; null: as the server has them. */
  setTools(tools) {
    this.send({ type: "session.update", session: { type: "realtime", tools } });
  }

  /**
   * Have the greeting said now: the server waits for the caller's first sound, and there may be no
   * microphone, or a key to hold. It greets only where it is to answer of its own accord.
   */
  invite() {
    const audio = base64OfPcm16(new Int16Array(HELLO_SAMPLES));
    if (this.send({ type: "input_audio_buffer.append", audio })) this.sentSamples += HELLO_SAMPLES;
    if (this.pushToTalk) this.setPushToTalk(true);
  }

  /** Be heard over this speaker (an id of enumerateDevices), "" for the system's. */
  speakOver(deviceId) {
    return this.sound.speakOver(deviceId);
  }

  /** Who it is to be; empty: as the server has it. */
  instruct(instructions) {
    const session = { type: "realtime", instructions: instructions.trim() || null };
    this.send({ type: "session.update", session });
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
    this.toTrack();
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
    this.toTrack();
  }

  release() {
    if (this.pressedAt === null) return;
    const heldMs = now() - this.pressedAt;
    this.pressedAt = null;
    this.toTrack();
    if (heldMs < SHORTEST_PRESS_MS || !this.sound.isListening) return;
    this.send({ type: "input_audio_buffer.commit" });
    this.answer({ written: false });
  }

  /** When the sample of the stream that was sent so many milliseconds in was taken. */
  takenAtMs(streamMs) {
    if (this.isAdrift) return null;
    const sample = (streamMs * WIRE_HZ) / 1000;
    const packet = this.packets.find(({ end }) => end >= sample);
    if (!packet) return null;
    return this.sound.takenAtMs(packet.time - (packet.end - sample) / WIRE_HZ);
  }

  send(event) {
    return this.wire.send(event);
  }

  /** Ask for an answer; where another is asked for or being made that one ends first. */
  answer({ written }) {
    const turn = { at_ms: now(), written };
    if (this.asked) this.isUnwanted = true;
    if (this.response && !this.response.isCancelled) this.cancel();
    if (this.asked || this.response) this.toAsk = turn;
    else this.ask(turn);
  }

  ask(turn) {
    this.toAsk = null;
    this.tell("event", { type: "local.turn", ...turn });
    this.numbered += 1;
    const id = `ask_${this.numbered}`;
    if (this.send({ type: "response.create", event_id: id })) this.asked = id;
  }

  /** A second cancel does no harm: the server then answers that there is nothing to cancel. */
  cancel() {
    this.response.isCancelled = true;
    this.send({ type: "response.cancel", response_id: this.response.id });
  }

  /** Nothing that was asked for is awaited any more. Returns what was to be asked after it. */
  forgetAsked() {
    const { toAsk } = this;
    this.asked = this.toAsk = null;
    this.isUnwanted = false;
    return toAsk;
  }

  connect() {
    this.wire.addEventListener("open", () => this.send(this.opening()));
    this.wire.addEventListener("event", ({ detail }) => this.receive(detail));
    this.wire.addEventListener("waiting", () => this.enter("waiting"));
    this.wire.addEventListener("resumed", () => this.resumed());
    this.wire.addEventListener("track", ({ detail }) => this.follow(detail));
    this.wire.addEventListener("closed", ({ detail }) => this.over(detail));
    this.sound.addEventListener("packet", ({ detail }) => this.heard(detail));
    this.sound.addEventListener("playout", ({ detail }) => this.played(detail));
    this.sound.addEventListener("tap", ({ detail }) => this.tell("tap", detail));
    const wake = () => this.wake();
    const hear = (change) => ["pointerup", "keydown"].forEach((kind) => change(kind, wake));
    this.sound.addEventListener("asleep", () => {
      hear((...each) => globalThis.addEventListener?.(...each)); // any touch will do
      this.tell("problem", asleep());
    });
    this.sound.addEventListener("awake", () => {
      hear((...each) => globalThis.removeEventListener?.(...each));
      this.tell("solved", { kind: asleep().kind });
    });
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
    if (this.pushToTalk && !extras?.greeting) input.turn_detection = null; // else after it
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
    } else if (type === "session.updated" && !this.isGreeted) {
      this.isGreeted = true;
      this.invite();
    } else if (type === "input_audio_buffer.speech_started" && !this.overTracks) this.silence();
    else if (type === "response.created") this.created(event.response.id);
    else if (type === "response.output_audio.delta") this.receiveAudio(event);
    else if (type === "response.output_audio.done" && !this.overTracks) this.endAudio(event.item_id);
    this.tell("event", event);
    if (type === "response.done") this.done(event.response.id);
    if (type === "input_audio_buffer.speech_stopped") {
      this.tell("event", { type: "local.turn", at_ms: this.takenAtMs(event.audio_end_ms) });
    }
    if (type === "error") this.failed(event.error);
  }

  created(id) {
    const isUnwanted = this.isUnwanted || this.pressedAt !== null;
    this.response = { id, isCancelled: false };
    this.asked = null;
    this.isUnwanted = false;
    if (isUnwanted) this.cancel();
  }

  done(id) {
    if (id !== this.response?.id) return;
    this.response = null;
    if (this.toAsk) this.ask(this.toAsk);
  }

  failed(error) {
    if (this.asked && (error.event_id === this.asked || error.code === ACTIVE)) {
      const next = this.forgetAsked();
      if (next) this.ask(next);
    }
    this.complain(error);
  }

  /** The socket is another one: what was on its way to the server may be lost. */
  resumed() {
    this.isAdrift = true;
    this.enter("open");
    if (this.response?.isCancelled) this.cancel();
    const next = this.response ? null : this.forgetAsked();
    if (next) this.ask(next);
  }

  receiveAudio({ response_id: response, item_id: item, content_index: part, delta }) {
    if (!this.sounding.has(item)) {
      const isCut = this.response?.id === response && this.response.isCancelled;
      this.sounding.set(item, { part, samples: 0, isCut, isWhole: false });
      if (isCut) this.tellCut(item, part, 0);
      this.tell("event", { type: "local.mark", item_id: item, name: "received", at_ms: now() });
    }
    // What was on its way as it was cut is not begun again.
    if (!this.sounding.get(item).isCut) this.sound.play(item, pcm16OfBase64(delta));
  }

  endAudio(item) {
    const sounding = this.sounding.get(item);
    if (sounding) sounding.isWhole = true;
    if (sounding?.isCut) this.sounding.delete(item);
    else this.sound.end(item);
  }

  /** Stop what sounds, and tell the server how much of it was heard. */
  async silence() {
    if (this.overTracks) {
      this.send({ type: "output_audio_buffer.clear" });
      return;
    }
    const waiting = [...this.sounding].filter(([, { isCut }]) => !isCut);
    if (waiting.length === 0) return;
    for (const [, sounding] of waiting) sounding.isCut = true;
    const told = await within(this.sound.flush(), FLUSH_MS);
    const cut = told && new Map(told.map(({ item, samples }) => [item, samples]));
    for (const [item, { part, samples, isWhole }] of waiting) {
      if (isWhole) this.sounding.delete(item);
      if (cut === null) this.tellCut(item, part, samples); // as far as was told before
      else if (cut.has(item)) this.tellCut(item, part, cut.get(item)); // else all of it was heard
    }
  }

  tellCut(item, part, samples) {
    this.send({
      type: "conversation.item.truncate",
      item_id: item,
      content_index: part,
      audio_end_ms: Math.floor((samples * 1000) / WIRE_HZ),
    });
    this.tell("event", { type: "local.cut", item_id: item, samples });
  }

  heard({ pcm, level, time }) {
    const isHeld = this.pushToTalk && this.pressedAt === null;
    const isSilent = this.isMuted || isHeld;
    this.tell("level", { direction: "in", level: isSilent ? 0 : level });
    if (this.phase !== "open" || isHeld || this.overTracks) return;
    if (this.isMuted) pcm.fill(0); // time goes on, for the server too
    if (!this.send({ type: "input_audio_buffer.append", audio: base64OfPcm16(pcm) })) return;
    this.sentSamples += pcm.length;
    this.packets.push({ end: this.sentSamples, time });
    if (this.packets.length > REMEMBERED_PACKETS) this.packets.shift();
  }

  /** Play what comes over the track, and tell how loud it is. */
  follow(stream) {
    const meter = this.sound.follow(stream);
    const samples = new Float32Array(meter.fftSize);
    this.metering = setInterval(() => {
      meter.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      this.tell("level", { direction: "out", level: Math.sqrt(power) });
    }, METER_MS);
    // What a held track carries is silence, and fills the server's buffer.
    this.emptying = setInterval(() => {
      if (this.pushToTalk && this.pressedAt === null) this.send({ type: "input_audio_buffer.clear" });
    }, EMPTY_MS);
  }

  played(notice) {
    const { kind, item } = notice;
    if (kind === "position") {
      this.tell("level", { direction: "out", level: notice.level });
      if (!item) return;
      const sounding = this.sounding.get(item);
      if (sounding) sounding.samples = notice.samples;
      this.tell("event", { type: "local.played", item_id: item, samples: notice.samples });
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
    clearInterval(this.metering);
    clearInterval(this.emptying);
    this.sound.close();
    this.sounding.clear();
    this.forgetAsked();
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
