import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Sound } from "../../../client/browser/app/sound.js";

function sleeping(resume) {
  const sound = new Sound();
  sound.context = { state: "interrupted", resume: () => resume(sound.context) };
  const log = [];
  for (const kind of ["asleep", "awake"]) sound.addEventListener(kind, () => log.push(kind));
  return { sound, log };
}

test("a context that was put to sleep is woken without a word", async () => {
  const { sound, log } = sleeping(async (context) => void (context.state = "running"));
  await sound.wake();
  assert.deepEqual([sound.context.state, log], ["running", []]);
});

test("one that wants a touch is told once, and told when it runs", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const { sound, log } = sleeping(() => new Promise(() => {}));
  for (let i = 0; i < 2; i += 1) {
    const woken = sound.wake();
    mock.timers.tick(1000);
    await woken;
  }
  sound.context.resume = () => Promise.reject(new DOMException("", "InvalidStateError"));
  await sound.wake();
  assert.deepEqual(log, ["asleep"]);
  sound.context.state = "running";
  await sound.wake();
  assert.deepEqual(log, ["asleep", "awake"]);
});

test("a chosen microphone that is gone is replaced by the usual one, and that is told", async (t) => {
  const asked = [];
  const getUserMedia = async ({ audio }) => {
    asked.push(audio.deviceId);
    if (audio.deviceId) throw new DOMException("", "OverconstrainedError");
    return { getTracks: () => [], getAudioTracks: () => [{}] };
  };
  const was = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { mediaDevices: { getUserMedia } } });
  globalThis.AudioWorkletNode = class {
    port = {};
  };
  t.after(() => Object.defineProperty(globalThis, "navigator", was ?? { configurable: true, value: undefined }));
  t.after(() => delete globalThis.AudioWorkletNode);
  const sound = new Sound();
  sound.context = {
    state: "running", audioWorklet: { addModule: async () => {} },
    createMediaStreamSource: () => ({ connect() {}, disconnect() {} }),
  };
  assert.equal(await sound.listen("gone"), false);
  assert.deepEqual(asked, [{ exact: "gone" }, undefined]);
  assert.equal(sound.isListening, true);
  sound.stream = null;
  assert.equal(await sound.listen(""), true);
});
