import assert from "node:assert/strict";
import { test } from "node:test";

import { PlayoutBuffer } from "../../../client/browser/app/playout.js";

const RATE = 1000; // a sample is a millisecond

function pull(buffer, count) {
  const out = new Float32Array(count).fill(NaN);
  const notices = buffer.pull(out).map(({ kind, item, offset }) => `${kind} ${item} ${offset}`);
  return [[...out], notices];
}

const ones = (count, value = 1) => new Float32Array(count).fill(value);

test("an item begins when 60 ms have come", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(59));
  assert.deepEqual(pull(buffer, 3), [[0, 0, 0], []]);
  buffer.push("a", ones(1));
  assert.deepEqual(pull(buffer, 3), [[1, 1, 1], ["started a 0"]]);
});

test("a short item begins when it has come whole, and its end is told", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(2));
  assert.deepEqual(pull(buffer, 1), [[0], []]);
  assert.equal(buffer.end("a"), false);
  assert.deepEqual(pull(buffer, 3), [[1, 1, 0], ["started a 0", "finished a 2"]]);
  assert.equal(buffer.played.size, 0);
});

test("the end of an item that was played already is told at once", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(60));
  pull(buffer, 60);
  assert.equal(buffer.end("a"), true);
  assert.equal(buffer.end("b"), false, "nothing is known of it");
});

test("items follow each other without a gap", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(60, 1));
  buffer.end("a");
  buffer.push("b", ones(60, 2));
  pull(buffer, 59);
  assert.deepEqual(pull(buffer, 3), [[1, 2, 2], ["finished a 1", "started b 1"]]);
});

test("an item that follows another is kept back for itself", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(60, 1));
  buffer.end("a");
  buffer.push("b", ones(10, 2));
  assert.deepEqual(pull(buffer, 70)[1], ["started a 0", "finished a 60"]);
  buffer.push("b", ones(50, 2));
  assert.deepEqual(pull(buffer, 1), [[2], ["started b 0"]]);
});

test("late packets make it keep back more, calm less again", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(60));
  const [, notices] = pull(buffer, 90);
  assert.deepEqual(notices, ["started a 0", "underrun a 60"]);
  buffer.push("a", ones(89));
  assert.equal(buffer.startMs, 90, "30 ms would have been missing no more");
  assert.deepEqual(pull(buffer, 1), [[0], []]);
  buffer.push("a", ones(21_000));
  assert.deepEqual(pull(buffer, 1), [[1], []], "an item begins once");
  pull(buffer, 20_500);
  assert.equal(buffer.startMs, 72);
});

test("a server that had nothing to send does not make the next answer begin later", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(60));
  pull(buffer, 500);
  buffer.push("a", ones(60));
  assert.equal(buffer.startMs, 60);
  pull(buffer, 70);
  assert.equal(buffer.end("a"), true);
  pull(buffer, 20);
  buffer.push("b", ones(60));
  assert.equal(buffer.startMs, 60, "between answers there is nothing");
});

test("a flush fades out in 5 ms and tells what was played of each item", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(100));
  buffer.push("b", ones(100));
  pull(buffer, 10);
  const { tail, cut } = buffer.flush();
  assert.deepEqual([...tail].map((x) => Math.round(x * 10)), [8, 6, 4, 2, 0]);
  assert.deepEqual(cut, [{ item: "a", played: 15 }, { item: "b", played: 0 }]);
  assert.deepEqual(pull(buffer, 2), [[0, 0], []]);
  assert.equal(buffer.queued, 0);
  assert.deepEqual(buffer.flush(), { tail: new Float32Array(0), cut: [] });
});

test("what has not begun has nothing to fade out", () => {
  const buffer = new PlayoutBuffer(RATE);
  buffer.push("a", ones(10));
  const { tail, cut } = buffer.flush();
  assert.equal(tail.length, 0);
  assert.deepEqual(cut, [{ item: "a", played: 0 }]);
});
