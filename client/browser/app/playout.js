// What is to be played, in order, item by item: a small jitter buffer. No browser in here.

const START_MS = 60; // kept back before an item begins, unless it has come whole
const MOST_MS = 160; // what late packets may raise that to; later than that is no jitter but a
// server that has nothing yet, and to keep more back would only make every answer begin later
const CALM_S = 20; // without an underrun: less is kept back again
const FADE_MS = 5; // of what is cut off

/** Samples are of the output's rate; the counts of items too. */
export class PlayoutBuffer {
  constructor(rateHz) {
    this.rateHz = rateHz;
    this.chunks = []; // {item, samples, at}: `at` samples of it have been played
    this.whole = new Set(); // items of which all has come
    this.played = new Map(); // item -> samples played, while it is queued or being played
    this.isPlaying = false;
    this.startMs = START_MS;
    this.dry = null; // set after an underrun, until something comes: samples of silence since
    this.calm = 0; // samples played since the last underrun
  }

  push(item, samples) {
    if (!this.played.has(item)) this.played.set(item, 0);
    if (samples.length) this.noteGap();
    if (samples.length) this.chunks.push({ item, samples, at: 0 });
  }

  /** All of `item` has come. Returns whether all of it was played already. */
  end(item) {
    this.whole.add(item);
    this.dry = null; // nothing was missing
    const isOver = this.played.has(item) && !this.chunks.some((chunk) => chunk.item === item);
    if (isOver) this.forget(item);
    return isOver;
  }

  get queued() {
    return this.chunks.reduce((sum, chunk) => sum + chunk.samples.length - chunk.at, 0);
  }

  /** Fill `out`. Returns what happened: {kind: started|finished|underrun, item, offset}. */
  pull(out) {
    const notices = [];
    out.fill(0);
    let filled = 0;
    while (filled < out.length && this.mayPlay()) {
      const chunk = this.chunks[0];
      if (this.played.get(chunk.item) === 0 && chunk.at === 0) {
        notices.push({ kind: "started", item: chunk.item, offset: filled });
      }
      const count = Math.min(out.length - filled, chunk.samples.length - chunk.at);
      out.set(chunk.samples.subarray(chunk.at, chunk.at + count), filled);
      chunk.at += count;
      filled += count;
      this.played.set(chunk.item, this.played.get(chunk.item) + count);
      this.noteCalm(count);
      if (chunk.at === chunk.samples.length) this.leave(chunk, filled, notices);
    }
    if (this.dry !== null) this.dry += out.length - filled;
    return notices;
  }

  /**
   * Drop everything. Returns the tail to fade out on and, for each item that was cut, what of it
   * was played, the tail included.
   */
  flush() {
    const first = this.chunks[0];
    let tail = new Float32Array(0);
    if (this.isPlaying && first) {
      tail = first.samples.slice(first.at, first.at + (this.rateHz * FADE_MS) / 1000);
      tail.forEach((value, i) => {
        tail[i] = value * (1 - (i + 1) / tail.length);
      });
      this.played.set(first.item, this.played.get(first.item) + tail.length);
    }
    const cut = [...this.played].map(([item, played]) => ({ item, played }));
    this.chunks = [];
    this.played.clear();
    this.whole.clear();
    this.isPlaying = false;
    this.dry = null;
    return { tail, cut };
  }

  mayPlay() {
    if (this.chunks.length === 0) return false;
    if (!this.isPlaying) {
      const enough = (this.startMs * this.rateHz) / 1000;
      this.isPlaying = this.queued >= enough || this.whole.has(this.chunks[0].item);
    }
    return this.isPlaying;
  }

  leave(chunk, offset, notices) {
    this.chunks.shift();
    if (this.chunks[0]?.item === chunk.item) return;
    if (this.whole.has(chunk.item)) {
      notices.push({ kind: "finished", item: chunk.item, offset });
      this.forget(chunk.item);
      this.isPlaying = false; // what follows is kept back for itself
    } else if (this.chunks.length === 0) {
      this.calm = 0;
      this.dry = 0;
      notices.push({ kind: "underrun", item: chunk.item, offset });
    }
    if (this.chunks.length === 0) this.isPlaying = false;
  }

  noteGap() {
    const gapMs = this.dry === null ? 0 : (this.dry * 1000) / this.rateHz;
    this.dry = null;
    const wanted = this.startMs + gapMs; // would have been enough
    if (wanted <= MOST_MS) this.startMs = wanted;
  }

  noteCalm(count) {
    this.calm += count;
    if (this.calm > CALM_S * this.rateHz) {
      this.calm = 0;
      this.startMs = Math.max(START_MS, this.startMs * 0.8);
    }
  }

  forget(item) {
    this.whole.delete(item);
    this.played.delete(item);
  }
}
