// The microphone as packets of 20 ms at the rate of the wire, on the audio thread.

import { Resampler, WIRE_HZ, loudness, toPcm16 } from "../pcm.js";

const PACKET = WIRE_HZ / 50;
const TAP_SAMPLES = 2048;

class Capture extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.resampler = new Resampler(sampleRate, WIRE_HZ);
    this.packet = new Float32Array(PACKET);
    this.filled = 0;
    this.tap = processorOptions.tap ? { from: 0, samples: [] } : null;
  }

  process([channels]) {
    const heard = channels[0];
    if (!heard) return true; // nothing is connected yet
    for (const value of this.resampler.push(heard)) {
      this.packet[this.filled] = value;
      this.filled += 1;
      if (this.filled === PACKET) this.post();
    }
    if (this.tap) this.note(heard);
    return true;
  }

  post() {
    this.filled = 0;
    const pcm = toPcm16(this.packet).buffer;
    const level = loudness(this.packet);
    const time = currentTime + 128 / sampleRate; // of the packet's end
    this.port.postMessage({ kind: "packet", pcm, level, time }, [pcm]);
  }

  note(heard) {
    const { tap } = this;
    if (tap.samples.length === 0) tap.from = currentFrame;
    tap.samples.push(...heard);
    if (tap.samples.length >= TAP_SAMPLES) {
      this.port.postMessage({ kind: "tap", from: tap.from, samples: Float32Array.from(tap.samples) });
      tap.samples = [];
    }
  }
}

registerProcessor("duplex-capture", Capture);
