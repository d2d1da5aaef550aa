import assert from "node:assert/strict";
import { test } from "node:test";

import { clock, facts, lineAt, party, turns } from "../../../client/browser/app/calls_words.js";

test("lengths are minutes and seconds, hours only if there are any", () => {
  assert.deepEqual([0, 5.9, 65, 3600, 7325].map(clock), ["0:00", "0:05", "1:05", "1:00:00", "2:02:05"]);
});

test("what is told of a call", () => {
  assert.equal(party({ key: "", client: "webrtc" }), "anybody · WebRTC");
  assert.equal(party({ key: "shop", client: "twilio" }), "shop · twilio");
  assert.deepEqual([1, 2].map(turns), ["1 turn", "2 turns"]);
  const call = { seconds: 65, key: "shop", client: "sip", model: "m", voice: "", language: "en", turns: 2, ended: "lost" };
  assert.equal(facts(call), "1:05 · shop · SIP · m · en · 2 turns · ended: the server was lost");
});

test("the line that is spoken is the last that has begun and is not over", () => {
  const lines = [{ start: 1, end: 2 }, { start: 1.8, end: 4 }, { start: 6, end: 7 }];
  assert.deepEqual([0, 1.5, 1.9, 4.2, 5, 6.5, 9].map((at) => lineAt(lines, at)), [-1, 0, 1, 1, -1, 2, -1]);
});
