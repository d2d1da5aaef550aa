import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { sockets } from "./support.mjs";
import { Wire } from "../../../client/browser/app/wire.js";

const offer = { type: "duplex.resume", token: "t", resume_s: 60 };

function opened() {
  const wire = new Wire({});
  const told = [];
  const log = [];
  wire.addEventListener("event", ({ detail }) => told.push(detail));
  for (const kind of ["waiting", "resumed"]) wire.addEventListener(kind, () => log.push(kind));
  wire.addEventListener("closed", ({ detail }) => log.push(detail?.kind ?? "closed"));
  wire.open();
  sockets.at(-1).onopen();
  return { wire, told, log };
}

for (const id of [undefined, "same", 7]) {
  test(`a server that numbers its events with ${id} is heard`, () => {
    const { wire, told } = opened();
    for (let i = 0; i < 5; i += 1) sockets.at(-1).onmessage({ data: JSON.stringify({ type: "x", event_id: id }) });
    assert.equal(told.length, 5);
    wire.close();
  });
}

test("what is told again after a resume is told once", () => {
  const { wire, told } = opened();
  sockets.at(-1).tell(offer);
  for (let i = 0; i < 2; i += 1) sockets.at(-1).tell({ type: "x", event_id: "e" });
  assert.deepEqual(told.map(({ type }) => type), ["duplex.resume", "x"]);
  assert.equal(wire.lastId, "e");
  wire.close();
});

/** Milliseconds of the outage at which sockets were tried, and how it ended. */
function flapping(t, { holdsMs }) {
  mock.timers.enable({ apis: ["setTimeout"] });
  let nowMs = 0;
  t.mock.method(performance, "now", () => nowMs);
  t.after(() => mock.timers.reset());
  const { wire, log } = opened();
  sockets.at(-1).tell(offer);
  let count = sockets.length;
  const tried = [];
  nowMs = 100_000;
  sockets.at(-1).drop();
  let openSince = null;
  for (let i = 0; i < 8000 && log.at(-1) !== "gone"; i += 1) {
    nowMs += 10;
    mock.timers.tick(10);
    if (openSince !== null && nowMs - openSince >= holdsMs) {
      openSince = null;
      sockets.at(-1).drop();
    }
    if (sockets.length > count) {
      count = sockets.length;
      tried.push(nowMs - 100_000);
      openSince = nowMs;
      sockets.at(-1).onopen();
    }
  }
  wire.close();
  return { tried, log };
}

test("a server that takes the call up and drops it at once has one patience, and longer pauses", (t) => {
  const { tried, log } = flapping(t, { holdsMs: 10 });
  assert.equal(log.at(-1), "gone");
  assert.ok(tried.at(-1) <= 64_000);
  assert.ok(tried.length < 25, `${tried.length} tries in a minute`);
  assert.ok(tried.at(-1) - tried.at(-2) >= 4000);
});

test("a connection that held begins anew", (t) => {
  const { tried, log } = flapping(t, { holdsMs: 6000 });
  assert.ok(!log.includes("gone"));
  assert.ok(tried.slice(1).every((at, i) => at - tried[i] < 6500));
});
