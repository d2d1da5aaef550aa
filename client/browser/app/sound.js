// The microphone and the speaker of one call, in one AudioContext and so on one clock.

const WAKE_MS = 1000; // for the browser to let the context run
const WORKLETS = new URL("./worklets/", import.meta.url);

/**
 * Events: `packet` (detail: {pcm, level, time}); `playout` (detail: what the playout worklet tells);
 * `tap` (detail: {direction, from, samples}, when asked for); `ended` (the microphone was taken away);
 * `asleep` (nothing plays nor listens until `wake` is called where a touch or a key is handled); `awake`.
 * Times are of the context's clock, in seconds.
 */
export class Sound extends EventTarget {
  constructor({ tap = false } = {}) {
    super();
    this.tap = tap;
    this.context = null;
    this.playout = null;
    this.stream = null;
    this.flushes = new Map(); // id -> what waits for it
    this.numbered = 0;
    this.isAwake = true; // as far as was told
  }

  /** Begin to play. To be called where a click or a key is handled, or browsers stay silent. */
  async open() {
    this.context = new AudioContext({ latencyHint: "interactive" });
    const woken = this.wake();
    await this.context.audioWorklet.addModule(new URL("playout.js", WORKLETS));
    this.playout = new AudioWorkletNode(this.context, "duplex-playout", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { tap: this.tap },
    });
    this.playout.port.onmessage = ({ data }) => this.played(data);
    this.playout.connect(this.context.destination);
    await woken;
    this.context.onstatechange = () => this.wake();
  }

  /** Be heard over this speaker, "" for the system's; one that is gone is replaced by that. */
  async speakOver(deviceId) {
    if (!this.context?.setSinkId || this.context.state === "closed") return;
    await this.context.setSinkId(deviceId).catch(() => this.context.setSinkId(""));
  }

  /** Let the context run again if it does not: a system may put it to sleep, as for a phone call. */
  async wake() {
    const { context } = this;
    if (context.state !== "running" && context.state !== "closed") {
      await within(context.resume().catch(() => null), WAKE_MS); // its state says how it went
    }
    const isAwake = context.state === "running" || context.state === "closed";
    if (isAwake === this.isAwake) return;
    this.isAwake = isAwake;
    this.dispatchEvent(new Event(isAwake ? "awake" : "asleep"));
  }

  /**
   * Begin to listen; throws what getUserMedia throws. A microphone that is replaced is let go.
   * Returns whether it is the one that was asked for: one that is gone is replaced by the usual one.
   */
  async listen(deviceId) {
    if (!navigator.mediaDevices) throw new DOMException("no media devices", "SecurityError");
    const { stream, isOther } = await microphone(deviceId);
    if (!this.context || this.context.state === "closed") {
      stop(stream); // hung up while the person was asked
      return true;
    }
    await this.context.audioWorklet.addModule(new URL("capture.js", WORKLETS));
    this.letGo();
    this.stream = stream;
    this.capture = new AudioWorkletNode(this.context, "duplex-capture", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { tap: this.tap },
    });
    this.capture.port.onmessage = ({ data }) => this.heard(data);
    this.source = this.context.createMediaStreamSource(stream);
    this.source.connect(this.capture);
    stream.getAudioTracks()[0].onended = () => this.dispatchEvent(new Event("ended"));
    return !isOther;
  }

  get isListening() {
    return this.stream !== null;
  }

  /** Seconds from where a sample is rendered to where it is heard, as far as the browser knows. */
  get outputLatencyS() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }

  /** When a sample of the context's clock is heard, in milliseconds of performance.now(). */
  heardAtMs(time) {
    const { contextTime, performanceTime } = this.context.getOutputTimestamp();
    if (performanceTime > 0) return performanceTime + (time - contextTime) * 1000;
    return performance.now() + (time - this.context.currentTime + this.outputLatencyS) * 1000;
  }

  /** When a sample was taken from the microphone, in milliseconds of performance.now(). */
  takenAtMs(time) {
    const latencyS = this.stream?.getAudioTracks()[0]?.getSettings().latency ?? 0;
    return this.heardAtMs(time) - (this.outputLatencyS + latencyS) * 1000;
  }

  play(item, pcm) {
    this.playout.port.postMessage({ push: { item, pcm: pcm.buffer } }, [pcm.buffer]);
  }

  /** Play a stream that comes over the network; returns what gives its samples, for its level. */
  follow(stream) {
    const pump = new Audio(); // Chromium gives a stream's samples only where an element has it
    pump.muted = true;
    pump.srcObject = stream;
    const source = this.context.createMediaStreamSource(stream);
    const meter = new AnalyserNode(this.context, { fftSize: 1024 });
    source.connect(meter).connect(this.context.destination);
    return meter;
  }

  /** All of the item was given to `play`. */
  end(item) {
    this.playout.port.postMessage({ end: item });
  }

  /** Be silent at once; resolves to [{item, samples}], what was played of each item it cut. */
  flush() {
    this.numbered += 1;
    const id = this.numbered;
    this.playout.port.postMessage({ flush: id });
    return new Promise((resolve) => this.flushes.set(id, resolve));
  }

  close() {
    this.letGo();
    this.playout?.port.close();
    this.context?.close();
    for (const resolve of this.flushes.values()) resolve([]);
    this.flushes.clear();
  }

  letGo() {
    if (!this.stream) return;
    this.source.disconnect();
    this.capture.port.close();
    stop(this.stream);
    this.stream = null;
  }

  played(notice) {
    if (notice.kind === "tap") {
      this.dispatchEvent(new CustomEvent("tap", { detail: { direction: "out", ...notice } }));
      return;
    }
    this.dispatchEvent(new CustomEvent("playout", { detail: notice }));
    if (notice.kind === "flushed") {
      this.flushes.get(notice.id)?.(notice.cut);
      this.flushes.delete(notice.id);
    }
  }

  heard(notice) {
    if (notice.kind === "tap") {
      this.dispatchEvent(new CustomEvent("tap", { detail: { direction: "in", ...notice } }));
    } else {
      const detail = { ...notice, pcm: new Int16Array(notice.pcm) };
      this.dispatchEvent(new CustomEvent("packet", { detail }));
    }
  }
}

async function microphone(deviceId) {
  const wanted = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  const open = (audio) => navigator.mediaDevices.getUserMedia({ audio });
  if (!deviceId) return { stream: await open(wanted), isOther: false };
  try {
    return { stream: await open({ ...wanted, deviceId: { exact: deviceId } }), isOther: false };
  } catch (error) {
    if (!["OverconstrainedError", "NotFoundError"].includes(error.name)) throw error;
    return { stream: await open(wanted), isOther: true };
  }
}

/** What `promise` gives, null if that takes longer than `ms`. */
export async function within(promise, ms) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms, null);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The microphones there are, by id and name; names are known once one was allowed. */
export function microphones() {
  return devices("audioinput", "Microphone");
}

/** The speakers there are, likewise; none where a page cannot choose. */
export function speakers() {
  return "setSinkId" in AudioContext.prototype ? devices("audiooutput", "Speaker") : [];
}

async function devices(wanted, word) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all
    .filter(({ kind, deviceId }) => kind === wanted && deviceId && deviceId !== "default")
    .map(({ deviceId, label }, i) => ({ id: deviceId, name: label || `${word} ${i + 1}` }));
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
