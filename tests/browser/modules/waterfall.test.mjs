import assert from "node:assert/strict";
import { test } from "node:test";

import { marksOf, stagesOf, voiceToVoice } from "../../../client/browser/app/waterfall.js";

const SERVER = {
  pause: 32, ear: 120, first_token: 180, first_clause: 260, first_audio: 340, endpoint: 400, released: 402,
};

test("the browser's marks count from when the caller had ended", () => {
  const marks = marksOf({ server: SERVER, turn: { at_ms: 5000 }, client: { received: 5410, audible: 5450 } });
  assert.equal(marks.received, 410);
  assert.equal(voiceToVoice(marks), 450);
});

test("without that moment only the server's are known", () => {
  const marks = marksOf({ server: SERVER, turn: { at_ms: null }, client: { received: 5410 } });
  assert.deepEqual(marks, SERVER);
  assert.equal(voiceToVoice(marks), null);
});

test("stages follow what they waited for", () => {
  const rows = stagesOf({ ...SERVER, received: 410, audible: 450 });
  assert.deepEqual(rows.map(({ name, from, to }) => [name, from, to]), [
    ["endpoint", 0, 400],
    ["ear", 32, 120],
    ["first_token", 120, 180],
    ["first_clause", 180, 260],
    ["first_audio", 260, 340],
    ["released", 400, 402],
    ["received", 402, 410],
    ["audible", 410, 450],
  ]);
});

test("what was not reached is left out, and clocks that disagree make no stage run backwards", () => {
  const rows = stagesOf({ endpoint: 300, released: 300, received: 290, audible: 350 });
  assert.deepEqual(rows.map(({ name, from, to }) => [name, from, to]), [
    ["endpoint", 0, 300],
    ["released", 300, 300],
    ["received", 290, 290],
    ["audible", 290, 350],
  ]);
  assert.deepEqual(stagesOf({}), []);
});

test("a written turn begins with the first token", () => {
  const rows = stagesOf({ first_token: 60, first_clause: 90, first_audio: 120, released: 121 });
  assert.deepEqual(rows.map(({ name, from }) => [name, from]), [
    ["first_token", 0], ["first_clause", 60], ["first_audio", 90], ["released", 120],
  ]);
});

test("of a server that tells nothing the whole is shown", () => {
  const rows = stagesOf({ received: 400, audible: 430 });
  assert.deepEqual(rows.map(({ words, from, to }) => [words, from, to]), [
    ["Server and network", 0, 400],
    ["Buffer and speaker", 400, 430],
  ]);
});

test("thoughts are named where they took the time", () => {
  const words = (rows) => rows.find(({ name }) => name === "first_clause").words;
  const marks = { first_token: 60, first_clause: 900 };
  assert.equal(words(stagesOf(marks)), "First words");
  assert.equal(words(stagesOf(marks, { hasThought: true })), "Thoughts, first words");
});
