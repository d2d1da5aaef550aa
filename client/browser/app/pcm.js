// Samples: PCM16 in base64 as the protocol carries it, and a resampler that remembers.

export const WIRE_HZ = 24000; // of audio/pcm in the Realtime API, both ways

/** PCM16 of samples in [-1, 1]. */
export function toPcm16(samples) {
  const pcm = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i += 1) {
    const x = Math.max(-1, Math.min(1, samples[i]));
    pcm[i] = Math.round(x * 32767);
  }
  return pcm;
}

/** Samples in [-1, 1] of PCM16. */
export function fromPcm16(pcm) {
  const samples = new Float32Array(pcm.length);
  for (let i = 0; i < pcm.length; i += 1) samples[i] = pcm[i] / 32768;
  return samples;
}

export function base64OfPcm16(pcm) {
  const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  let text = "";
  for (let start = 0; start < bytes.length; start += 8192) {
    text += String.fromCharCode(...bytes.subarray(start, start + 8192));
  }
  return btoa(text);
}

export function pcm16OfBase64(text) {
  const decoded = atob(text);
  const bytes = new Uint8Array(decoded.length & ~1); // half a sample at the end is dropped
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = decoded.charCodeAt(i);
  return new Int16Array(bytes.buffer);
}

/** Root mean square of samples in [-1, 1]. */
export function loudness(samples) {
  let sum = 0;
  for (const x of samples) sum += x * x;
  return Math.sqrt(sum / Math.max(1, samples.length));
}

const ZERO_CROSSINGS = 12; // on each side: 0.5 ms at 24 kHz

/**
 * Changes the rate of a stream that comes in pieces: a Hann-windowed sinc, one row of coefficients
 * for each phase of the exact ratio. Pieces of any length give the same output as the whole.
 */
export class Resampler {
  constructor(fromHz, toHz) {
    const divisor = gcd(fromHz, toHz);
    this.up = toHz / divisor;
    this.down = fromHz / divisor;
    this.isIdentity = this.up === this.down;
    const cutoff = Math.min(1, toHz / fromHz);
    this.half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.rows = this.isIdentity ? [] : rows(this.up, this.half, cutoff);
    this.kept = new Float32Array(this.half); // silence before the beginning
    this.at = 0; // of the next output, in 1/up input samples after kept[half]
  }

  push(input) {
    if (this.isIdentity) return input;
    const { half, up, down } = this;
    const buffer = new Float32Array(this.kept.length + input.length);
    buffer.set(this.kept);
    buffer.set(input, this.kept.length);
    const last = (buffer.length - 2 * half) * up; // the first position without enough to its right
    const count = Math.max(0, Math.ceil((last - this.at) / down));
    const output = new Float32Array(count);
    for (let n = 0; n < count; n += 1) {
      const position = this.at + n * down;
      const start = Math.floor(position / up);
      const row = this.rows[position % up];
      let sum = 0;
      for (let k = 0; k < row.length; k += 1) sum += row[k] * buffer[start + k];
      output[n] = sum;
    }
    const next = this.at + count * down;
    const used = Math.min(Math.floor(next / up), buffer.length);
    this.kept = buffer.slice(used);
    this.at = next - used * up;
    return output;
  }

  /** What is still inside, when nothing more will come. */
  flush() {
    return this.isIdentity ? new Float32Array(0) : this.push(new Float32Array(this.half));
  }
}

function rows(up, half, cutoff) {
  const made = [];
  for (let phase = 0; phase < up; phase += 1) {
    const row = new Float32Array(2 * half);
    let sum = 0;
    for (let k = 0; k < row.length; k += 1) {
      const x = k - half - phase / up;
      const window = Math.abs(x) < half ? 0.5 + 0.5 * Math.cos((Math.PI * x) / half) : 0;
      row[k] = sinc(x * cutoff) * cutoff * window;
      sum += row[k];
    }
    made.push(row.map((value) => value / sum)); // a constant stays what it is, at every phase
  }
  return made;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function gcd(a, b) {
  return b === 0 ? a : gcd(b, a % b);
}
