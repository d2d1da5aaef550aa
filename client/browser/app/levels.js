// How loud it is, as a line of bars that runs away from the button in the middle.

const BAR_PX = 3;
const GAP_PX = 3;
const STEP_MS = 45; // between bars
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export class Wave {
  /** `direction` is "in" (runs to the left) or "out" (to the right). */
  constructor(canvas, direction) {
    this.canvas = canvas;
    this.isLeft = direction === "in";
    this.bars = [];
    this.peak = 0; // since the last bar
    this.steppedAt = 0;
  }

  /** `level` is a root mean square of samples in [-1, 1]. */
  push(level) {
    this.peak = Math.max(this.peak, shown(level));
  }

  clear() {
    this.bars = [];
    this.peak = 0;
  }

  draw(nowMs) {
    if (nowMs - this.steppedAt > STEP_MS) {
      this.steppedAt = nowMs;
      this.canvas.dataset.level = this.peak.toFixed(2);
      this.bars.unshift(this.peak);
      this.peak = 0;
    }
    const { canvas } = this;
    const ratio = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
    }
    const count = Math.floor(width / (BAR_PX + GAP_PX));
    this.bars.length = Math.min(this.bars.length, count);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(canvas).color;
    for (let i = 0; i < count; i += 1) {
      // Where motion is unwelcome all bars show the loudness of now, and nothing runs.
      const level = (CALM.matches ? this.bars[0] : this.bars[i]) ?? 0;
      const size = Math.max(BAR_PX, level * height);
      const x = i * (BAR_PX + GAP_PX) + GAP_PX;
      pen.globalAlpha = 0.9 * (1 - i / count) + 0.1;
      pen.beginPath();
      pen.roundRect(this.isLeft ? width - x - BAR_PX : x, (height - size) / 2, BAR_PX, size, BAR_PX / 2);
      pen.fill();
    }
  }
}

/** Loudness as the eye expects it: 0 below -54 dB, 1 at -9 dB. */
function shown(level) {
  const decibels = 20 * Math.log10(Math.max(level, 1e-6));
  return Math.max(0, Math.min(1, (decibels + 54) / 45));
}
