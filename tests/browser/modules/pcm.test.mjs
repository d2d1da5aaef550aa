import assert from "node:assert/strict";
import { test } from "node:test";

import { Resampler, base64OfPcm16, fromPcm16, pcm16OfBase64, toPcm16 } from "../../../client/browser/app/pcm.js";

const RATES = [[48000, 24000], [44100, 24000], [24000, 48000], [24000, 44100], [16000, 24000]];

function tone(hz, rate, seconds) {
  return Float32Array.from({ length: rate * seconds }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rate));
}

for (const [from, to] of RATES) {
  test(`${from} Hz to ${to} Hz keeps a tone, and pieces make the whole`, () => {
    const input = tone(1000, from, 0.5);
    const whole = new Resampler(from, to).push(input);
    const expected = tone(1000, to, 0.5);
    assert.ok(expected.length - whole.length < 40);
    for (let i = 50; i < whole.length; i += 1) assert.ok(Math.abs(whole[i] - expected[i]) < 2e-3);

    const resampler = new Resampler(from, to);
    const pieces = [];
    for (let start = 0, size = 1; start < input.length; start += size, size = (size * 7) % 301) {
      pieces.push(...resampler.push(input.subarray(start, start + size)));
    }
    assert.deepEqual(Float32Array.from(pieces), whole);
    assert.ok(Math.abs(pieces.length + resampler.flush().length - expected.length) <= 1);
  });
}

test("what the lower rate cannot carry is left out", () => {
  const out = new Resampler(48000, 24000).push(tone(17000, 48000, 0.2)).subarray(50);
  assert.ok(Math.max(...out.map(Math.abs)) < 0.01);
});

test("PCM16 in base64 comes back, loud samples are limited", () => {
  const pcm = toPcm16([0, 0.5, -0.5, 2, -2]);
  assert.deepEqual([...pcm], [0, 16384, -16383, 32767, -32767]);
  assert.deepEqual(pcm16OfBase64(base64OfPcm16(pcm)), pcm);
  assert.equal(fromPcm16(Int16Array.of(-32768))[0], -1);
  assert.equal(pcm16OfBase64(btoa("abc")).length, 1, "half a sample is dropped");
});
