// Plays what it is sent and says what was played, on the audio thread.

import { Resampler, WIRE_HZ, fromPcm16, loudness } from "../pcm.js";
import { PlayoutBuffer } from "../playout.js";

const REPORT_S = 0.04; // between positions
const AUDIBLE = 0.003; // below it a sample is taken for silence
const TAP_SAMPLES = 2048;

class Playout extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.buffer = new PlayoutBuffer(sampleRate);
    this.resampler = new Resampler(WIRE_HZ, sampleRate);
    this.fading = new Float32Array(0); // of what was cut off
    this.unheard = null; // the item that has begun and was not audible yet
    this.current = null; // the item being played
    this.reportedAt = 0;
    this.level = 0;
    this.tap = processorOptions.tap ? { from: 0, samples: [] } : null;
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  obey({ push, end, flush }) {
    if (push) {
      this.buffer.push(push.item, this.resampler.push(fromPcm16(new Int16Array(push.pcm))));
    }
    if (end) {
      this.buffer.push(end, this.resampler.flush());
      if (this.buffer.end(end)) this.port.postMessage({ kind: "finished", item: end });
    }
    if (flush) {
      const { tail, cut } = this.buffer.flush();
      this.fading = tail;
      this.resampler = new Resampler(WIRE_HZ, sampleRate);
      this.current = this.unheard = null;
      this.port.postMessage({ kind: "flushed", id: flush, cut: cut.map(onWire), time: currentTime });
    }
  }

  process(_, [[out, ...others]]) {
    if (this.fading.length) {
      out.fill(0);
      const count = Math.min(out.length, this.fading.length);
      out.set(this.fading.subarray(0, count));
      this.fading = this.fading.subarray(count);
    } else {
      for (const notice of this.buffer.pull(out)) this.tell(notice);
    }
    for (const other of others) other.set(out);
    this.noteSound(out);
    this.report(out);
    return true;
  }

  tell({ kind, item, offset }) {
    if (kind === "started") this.current = this.unheard = item;
    const time = currentTime + offset / sampleRate;
    this.port.postMessage({ kind, item, time, startMs: this.buffer.startMs });
    if (kind === "finished" && this.current === item) this.current = null;
  }

  noteSound(out) {
    if (this.unheard === null) return;
    const at = out.findIndex((value) => Math.abs(value) > AUDIBLE);
    if (at < 0) return;
    this.port.postMessage({
      kind: "audible", item: this.unheard, time: currentTime + at / sampleRate,
    });
    this.unheard = null;
  }

  report(out) {
    this.level = Math.max(this.level, loudness(out));
    if (currentTime - this.reportedAt >= REPORT_S) {
      const played = this.buffer.played.get(this.current) ?? 0;
      const position = onWire({ item: this.current, played });
      this.port.postMessage({ kind: "position", ...position, level: this.level });
      this.reportedAt = currentTime;
      this.level = 0;
    }
    if (this.tap) tapped(this, out);
  }
}

/** Counts in samples of the wire. */
function onWire({ item, played }) {
  return { item, samples: Math.round((played * WIRE_HZ) / sampleRate) };
}

/** For tests: what was played, with the frame at which it was. */
function tapped(processor, out) {
  const { tap, port } = processor;
  if (tap.samples.length === 0) tap.from = currentFrame;
  tap.samples.push(...out);
  if (tap.samples.length >= TAP_SAMPLES) {
    port.postMessage({ kind: "tap", from: tap.from, samples: Float32Array.from(tap.samples) });
    tap.samples = [];
  }
}

registerProcessor("duplex-playout", Playout);
