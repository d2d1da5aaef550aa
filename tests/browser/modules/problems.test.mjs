import assert from "node:assert/strict";
import { test } from "node:test";

import { ofAnswer, ofClose, ofMicrophone } from "../../../client/browser/app/problems.js";
import { load, save } from "../../../client/browser/app/settings.js";
import { callUrl } from "../../../client/browser/app/wire.js";

test("a microphone that cannot be had is told apart", () => {
  const kinds = ["NotAllowedError", "NotFoundError", "OverconstrainedError", "NotReadableError", "AbortError"].map(
    (name) => ofMicrophone({ name, message: "it broke" }).kind,
  );
  assert.deepEqual(kinds, [
    "microphone-refused", "microphone-missing", "microphone-missing", "microphone-busy", "microphone-failed",
  ]);
  assert.equal(ofMicrophone({ name: "AbortError", message: "it broke" }).text, "it broke.");
});

test("the end of a call is told by its error, else by its close code", () => {
  const full = { code: "server_full", message: "It holds 4 calls. Try again later." };
  assert.deepEqual(ofClose(1013, "full", full), {
    kind: "full", title: "All lines are busy", text: "It holds 4 calls. Try again later.", retry: true,
  });
  assert.equal(ofClose(1012, "", null).kind, "stopping");
  assert.equal(ofClose(1008, "", { code: "resume_failed" }).kind, "gone");
  assert.equal(ofClose(1006, "", null).kind, "lost");
  assert.equal(ofClose(1000, "", null), null);
  assert.equal(ofClose(1011, "internal error", null).text, "internal error.");
});

test("a refusal before the call is told by the plain answer", () => {
  assert.equal(ofAnswer(401).kind, "key");
  assert.match(ofAnswer(403, "", "https://a.example").text, /https:\/\/a\.example/);
  assert.equal(ofAnswer(429, "Wait").text, "Wait.");
  assert.equal(ofAnswer(200), null);
});

test("the address of a call follows the page's", () => {
  const of = (options, page) => String(callUrl(options, page));
  assert.equal(of({}, "http://localhost:8765/?probe"), "ws://localhost:8765/v1/realtime");
  assert.equal(of({ model: "a b" }, "https://h/x"), "wss://h/v1/realtime?model=a+b");
  assert.equal(of({ url: "wss://other/v1/realtime" }, "https://h/"), "wss://other/v1/realtime");
  assert.equal(of({ url: "wss://other/v1/realtime" }, "https://h/?a=b"), "wss://other/v1/realtime");
  assert.equal(of({}, "https://h/voice/"), "wss://h/voice/v1/realtime");
  assert.equal(of({}, "http://h:81/a/b/index.html#x"), "ws://h:81/a/b/v1/realtime");
  assert.equal(of({}, "https://h/voice/?probe&who=ann&resume=x&after=y"), "wss://h/voice/v1/realtime?who=ann");
  assert.equal(of({ model: "m" }, "https://h/?model=n"), "wss://h/v1/realtime?model=m");
});

test("the key is kept only by those who wish it", () => {
  const kept = new Map();
  const storage = () => ({
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, text) => kept.set(name, text),
  });
  const settings = { ...load(storage), theme: "dark", key: "secret" };
  save(settings, { keepKey: false }, storage);
  assert.equal([...kept.values()].join().includes("secret"), false);
  assert.deepEqual([load(storage).theme, load(storage).key], ["dark", ""]);
  save(settings, { keepKey: true }, storage);
  assert.equal(load(storage).key, "secret");
});

test("what somebody else wrote into the storage does no harm", () => {
  for (const text of ["{", "null", "3", '{"theme": 7, "nobody": 1}']) {
    assert.equal(load(() => ({ getItem: () => text })).theme, "auto");
    assert.equal("nobody" in load(() => ({ getItem: () => text })), false);
  }
});

test("a browser that forbids its storage gives the defaults, and a choice holds for the visit", (t) => {
  const forbidden = { configurable: true, get: () => { throw new DOMException("no", "SecurityError"); } };
  Object.defineProperty(globalThis, "localStorage", forbidden);
  t.after(() => delete globalThis.localStorage);
  const settings = load();
  assert.equal(settings.theme, "auto");
  save({ ...settings, theme: "dark" }, { keepKey: false });
});
