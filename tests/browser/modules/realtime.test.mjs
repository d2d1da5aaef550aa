import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { openCall, settled, sockets } from "./support.mjs";

const created = (id) => ({ type: "response.created", response: { id } });
const done = (id) => ({ type: "response.done", response: { id, status: "cancelled" } });
const audio = (response_id, item_id) => ({
  type: "response.output_audio.delta", response_id, item_id, content_index: 0, delta: "AAAA",
});
const whole = (response_id, item_id) => ({ type: "response.output_audio.done", response_id, item_id });
const SPEECH = { type: "input_audio_buffer.speech_started", item_id: "u" };

function held(call) {
  call.press();
  call.pressedAt -= 1000;
  call.release();
}

test("the key pressed again before the answer is created ends that answer, and asks once it is over", async () => {
  const { call, socket, told, played } = openCall({ pushToTalk: true });
  held(call);
  call.press();
  socket.tell(created("r1"));
  socket.tell(audio("r1", "a1"));
  assert.deepEqual(socket.sent.filter(({ response_id }) => response_id).map(({ type }) => type), ["response.cancel"]);
  assert.deepEqual(played, [], "nothing sounds while the key is held");
  call.pressedAt -= 1000;
  call.release();
  assert.equal(socket.types.filter((type) => type === "response.create").length, 1);
  socket.tell(done("r1"));
  assert.equal(socket.types.filter((type) => type === "response.create").length, 2);
  socket.tell(created("r2"));
  socket.tell(audio("r2", "a2"));
  assert.deepEqual(played, ["a2"]);
  const turns = told.filter(({ type }) => type === "local.turn" || type === "response.created");
  assert.deepEqual(turns.map(({ type }) => type), ["local.turn", "response.created", "local.turn", "response.created"]);
});

test("what is written before the answer is created supersedes it", async () => {
  const { call, socket } = openCall();
  await call.say("One.");
  await call.say("Two.");
  assert.deepEqual(socket.types, ["conversation.item.create", "response.create", "conversation.item.create"]);
  socket.tell(created("r1"));
  assert.deepEqual(socket.types.at(-1), "response.cancel");
  socket.tell(done("r1"));
  assert.deepEqual(socket.types.at(-1), "response.create");
  socket.tell(created("r2"));
  assert.deepEqual(socket.types.at(-1), "response.create", "it is wanted");
});

test("an answer that was stopped while the line was down is stopped when it is up again", (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const { call, socket } = openCall();
  socket.tell({ type: "duplex.resume", token: "t", resume_s: 60 });
  socket.tell(created("r1"));
  socket.drop();
  call.stop();
  mock.timers.tick(250);
  sockets.at(-1).onopen();
  assert.deepEqual(sockets.at(-1).types, ["response.cancel"]);
  call.hangUp();
});

test("an answer that was refused is not waited for", async () => {
  const { call, socket } = openCall();
  await call.say("One.");
  socket.tell({ type: "error", error: { message: "No.", event_id: socket.sent.at(-1).event_id } });
  await call.say("Two.");
  assert.equal(socket.types.at(-1), "response.create");
});

test("text is sent though the audio thread sleeps, and what was heard is told as far as is known", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const { call, socket } = openCall();
  call.sound.flush = () => new Promise(() => {});
  socket.tell(created("r1"));
  socket.tell(audio("r1", "a1"));
  call.played({ kind: "position", item: "a1", samples: 2400, level: 0 });
  const said = call.say("Hello.");
  assert.deepEqual(socket.types, ["response.cancel", "conversation.item.create"]);
  mock.timers.tick(500);
  await said;
  assert.equal(socket.sent.at(-1).audio_end_ms, 100);
  socket.tell(done("r1"));
  assert.equal(socket.types.at(-1), "response.create");
});

test("answers that had come whole and were cut leave nothing behind", async () => {
  const { call, socket } = openCall();
  for (let i = 0; i < 5; i += 1) {
    socket.tell(audio("r", `a${i}`));
    socket.tell(whole("r", `a${i}`));
    socket.tell(SPEECH);
    await settled();
  }
  assert.equal(call.sounding.size, 0);
});

test("after a resume it is not known when a sample of the server's stream was taken", (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const { call, socket } = openCall();
  socket.tell({ type: "duplex.resume", token: "t", resume_s: 60 });
  const packet = (time) => call.heard({ pcm: new Int16Array(480), level: 0, time });
  for (let i = 1; i <= 10; i += 1) packet(i / 50);
  assert.equal(Math.round(call.takenAtMs(200)), 200);
  socket.drop();
  mock.timers.tick(250);
  sockets.at(-1).onopen();
  packet(9);
  assert.equal(call.phase, "open");
  assert.equal(call.takenAtMs(200), null);
  call.hangUp();
});

test("a sound that sleeps is told and wakes, and is told no more", () => {
  const { call } = openCall();
  const log = [];
  call.addEventListener("problem", ({ detail }) => log.push(detail.kind));
  call.addEventListener("solved", ({ detail }) => log.push(`no ${detail.kind}`));
  call.sound.dispatchEvent(new Event("asleep"));
  call.sound.dispatchEvent(new Event("awake"));
  assert.deepEqual(log, ["asleep", "no asleep"]);
});
