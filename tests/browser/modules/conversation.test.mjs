import assert from "node:assert/strict";
import { test } from "node:test";

import { EMPTY, activityOf, asText, isShown, nextCall, reduce, textOf } from "../../../client/browser/app/conversation.js";

const audio = (samples) => Buffer.alloc(2 * samples).toString("base64");
const run = (events, state = EMPTY) => events.reduce(reduce, state);
const asked = (id) => [
  { type: "input_audio_buffer.speech_started", item_id: id },
  { type: "input_audio_buffer.speech_stopped", item_id: id, audio_end_ms: 900 },
  { type: "local.turn", at_ms: 5000 },
  { type: "input_audio_buffer.committed", item_id: id },
];
const begun = (response, item, metadata) => [
  { type: "response.created", response: { id: response, status: "in_progress", metadata } },
  { type: "response.output_item.added", response_id: response, item: { id: item, type: "message" } },
];
const voiced = (response, text, samples) => [
  { type: "response.output_audio_transcript.delta", response_id: response, delta: text },
  { type: "response.output_audio.delta", response_id: response, delta: audio(samples) },
];
const done = (response, status, details) => ({
  type: "response.done",
  response: { id: response, status, status_details: details },
});

test("the caller's words come in parts and the final ones replace them", () => {
  const delta = "conversation.item.input_audio_transcription.delta";
  const state = run([
    ...asked("u1"),
    { type: delta, item_id: "u1", delta: "What is" },
    { type: delta, item_id: "u1", delta: " the" },
  ]);
  assert.equal(state.entries[0].text, "What is the");
  assert.equal(state.entries[0].status, "heard");
  const completed = "conversation.item.input_audio_transcription.completed";
  const final = run([{ type: completed, item_id: "u1", transcript: " What was that? " }], state);
  assert.deepEqual(final.entries, [
    { kind: "caller", id: "u1", text: "What was that?", status: "final" },
  ]);
  assert.equal(state.entries[0].text, "What is the", "a state is never changed");
});

test("what was taken for speech and was none leaves nothing", () => {
  const started = (id) => ({ type: "input_audio_buffer.speech_started", item_id: id });
  assert.deepEqual(run([started("u1"), started("u2")]).entries.map(({ id }) => id), ["u2"]);
  const silent = { type: "conversation.item.input_audio_transcription.completed", item_id: "u3", transcript: "" };
  assert.equal(isShown(run([...asked("u3"), silent]).entries.at(-1)), false);
});

test("a written turn is an entry, a spoken one is not another", () => {
  const item = { id: "u1", role: "user", content: [{ type: "input_text", text: "Hello." }] };
  const added = { type: "conversation.item.added", item };
  assert.deepEqual(run([added]).entries.map(({ text, status }) => [text, status]), [["Hello.", "final"]]);
  const spoken = { ...item, content: [{ type: "input_audio", transcript: null }] };
  assert.equal(run([...asked("u1"), { type: added.type, item: spoken }]).entries.length, 1);
  assert.equal(run([added, { type: "conversation.item.deleted", item_id: "u1" }]).entries.length, 0);
});

test("an answer is marked up to what was heard, at words", () => {
  const state = run([...begun("r", "a"), ...voiced("r", "It is ten. ", 1000), ...voiced("r", "Time for tea.", 1000)]);
  const at = (samples) => textOf(run([{ type: "local.played", item_id: "a", samples }], state).entries[0]);
  assert.deepEqual(at(0), { heard: "", rest: "It is ten. Time for tea." });
  assert.deepEqual(at(250), { heard: "It ", rest: "is ten. Time for tea." });
  assert.deepEqual(at(350), { heard: "It is", rest: " ten. Time for tea." });
  assert.deepEqual(at(1000), { heard: "It is ten. ", rest: "Time for tea." });
  assert.deepEqual(at(Infinity), { heard: "It is ten. Time for tea.", rest: "" });
});

test("text may be far ahead of its audio, and audio may follow without text", () => {
  const text = (delta) => ({ type: "response.output_audio_transcript.delta", response_id: "r", delta });
  const sound = (samples) => ({ type: "response.output_audio.delta", response_id: "r", delta: audio(samples) });
  const state = run([...begun("r", "a"), text("One "), text("two "), sound(100), sound(100), text("three"), sound(50)]);
  assert.deepEqual(state.entries[0].words, [
    { text: "One two ", from: 0, to: 200 },
    { text: "three", from: 200, to: 250 },
  ]);
});

test("a cut stays, whatever comes after it", () => {
  const state = run([
    ...begun("r", "a"),
    ...voiced("r", "One two three four.", 1000),
    { type: "local.cut", item_id: "a", samples: 400 },
    { type: "local.played", item_id: "a", samples: 900 },
    done("r", "cancelled", { type: "cancelled", reason: "turn_detected" }),
  ]);
  assert.equal(state.entries[0].status, "cut");
  assert.equal(textOf(state.entries[0]).heard, "One two ");
});

test("an answer that goes on names what it goes on with, and has no turn of its own", () => {
  const { entries } = run([...asked("u"), ...begun("r2", "a2", { duplex_resumes: "r1" })]);
  assert.equal(entries.at(-1).resumes, "r1");
  assert.equal(entries.at(-1).turn, null);
  const told = run([...begun("r1", "a1"), ...begun("r2", "a2", { duplex_resumes: "r1" })]).entries;
  assert.deepEqual(told.map(({ isResumed }) => isResumed), [true, false]);
});

test("the end of a turn belongs to the next answer and to no other", () => {
  const { entries } = run([...asked("u"), ...begun("r1", "a1"), ...begun("r2", "a2")]);
  assert.deepEqual(entries.slice(1).map(({ turn }) => turn), [{ at_ms: 5000, written: false }, null]);
});

test("a turn that got no answer is not given to the answer of another", () => {
  const started = { type: "input_audio_buffer.speech_started", item_id: "u2" };
  const { entries } = run([...asked("u1"), started, ...begun("r", "a")]);
  assert.equal(entries.at(-1).turn, null);
});

test("an answer of two messages is heard and cut as one", () => {
  const item = { type: "response.output_item.added", response_id: "r", item: { id: "b", type: "message" } };
  const state = run([...begun("r", "a"), ...voiced("r", "One. ", 100), item, ...voiced("r", "Two. ", 100)]);
  const heard = (...told) => {
    const events = told.map(([type, item_id, samples]) => ({ type: `local.${type}`, item_id, samples }));
    return run(events, state).entries[0];
  };
  assert.equal(heard(["played", "a", Infinity]).heard, 100);
  assert.equal(heard(["played", "a", Infinity], ["played", "b", 50]).heard, 150);
  assert.equal(heard(["played", "b", Infinity]).heard, Infinity);
  const cut = heard(["cut", "a", 40], ["cut", "b", 0]);
  assert.deepEqual([cut.status, cut.heard], ["cut", 40]);
  assert.equal(run([{ type: "conversation.item.deleted", item_id: "a" }], state).entries.length, 0);
  const late = run([...begun("r", "a"), ...voiced("r", "One. ", 100), { type: "local.played", item_id: "a", samples: Infinity }, item]);
  assert.equal(late.entries[0].heard, 100, "there is more to be heard");
});

test("what goes on: speech without words that an answer goes on after is over", () => {
  const mark = { type: "local.mark", item_id: "a2", name: "started", at_ms: 1 };
  const [started, stopped] = asked("u");
  const states = [[started], [stopped], begun("r2", "a2", { duplex_resumes: "r1" }), [mark],
    [done("r2", "completed"), { type: "local.played", item_id: "a2", samples: Infinity }]];
  let state = EMPTY;
  const told = states.map((events) => activityOf((state = run(events, state))));
  assert.deepEqual(told, ["hearing", "thinking", "thinking", "speaking", null]);
});

test("thoughts, marks and times stay apart from what is said", () => {
  const [, answer] = run([
    ...asked("u"),
    ...begun("r", "a"),
    { type: "duplex.thought.delta", response_id: "r", delta: "Hm. " },
    { type: "duplex.thought.delta", response_id: "r", delta: "Ten." },
    { type: "local.mark", item_id: "a", name: "received", at_ms: 5400 },
    { type: "local.mark", item_id: "a", name: "received", at_ms: 5900 },
    { type: "duplex.turn_metrics", response_id: "r", marks_ms: { ear: 80 } },
  ]).entries;
  assert.equal(answer.thoughts, "Hm. Ten.");
  assert.equal(answer.isThinking, true);
  assert.deepEqual(answer.client, { received: 5400 }, "the first time counts");
  assert.deepEqual(answer.server, { ear: 80 });
  assert.deepEqual(textOf(answer), { heard: "", rest: "" });
});

test("a failed answer says why, an empty cancelled one is not shown", () => {
  const failed = done("r", "failed", { type: "failed", error: { message: "The model is away." } });
  const [entry] = run([...begun("r", "a"), failed]).entries;
  assert.equal(entry.problem, "The model is away.");
  assert.equal(isShown(entry), true);
  assert.equal(isShown(run([...begun("r", "a"), done("r", "cancelled")]).entries[0]), false);
});

test("events of other conversations and kinds change nothing", () => {
  assert.equal(reduce(EMPTY, { type: "rate_limits.updated" }), EMPTY);
  assert.equal(reduce(EMPTY, { type: "response.output_audio.delta", response_id: "x", delta: "" }), EMPTY);
});

test("another call keeps what was said, once, and what was not finished is over", () => {
  assert.deepEqual(nextCall(EMPTY, "call_1"), EMPTY);
  const said = run([...asked("u1"), ...begun("r1", "a1"), ...voiced("r1", "One two.", 100)]);
  const next = nextCall(said, "call_2");
  assert.deepEqual(next.entries.map(({ kind }) => kind), ["answer", "break"]);
  assert.equal(next.entries[0].status, "cut");
  assert.equal(activityOf(next), null);
  assert.deepEqual(nextCall(next, "call_3").entries, next.entries);
});

test("a conversation is kept as text", () => {
  const call = { type: "response.function_call_arguments.done", call_id: "c1", name: "weather", arguments: "{}" };
  const output = { type: "conversation.item.added", item: { type: "function_call_output", call_id: "c1", output: "sunny" } };
  const text = { type: "conversation.item.added", item: { id: "u1", role: "user", content: [{ text: "How is it?" }] } };
  const spoken = [...begun("r1", "a1"), ...voiced("r1", "It is sunny.", 100)];
  const heard = { type: "local.played", item_id: "a1", samples: Infinity };
  assert.equal(
    asText(run([text, call, output, ...spoken, heard])),
    "You: How is it?\n\n(weather {} gives sunny)\n\nDuplex: It is sunny.\n",
  );
  const cut = { type: "local.cut", item_id: "a1", samples: 0 };
  assert.equal(asText(run([...spoken, cut])), "Duplex: — (interrupted)\n");
});

test("over tracks the words' sound is reckoned", () => {
  const state = run([
    ...begun("r1", "a1"),
    { type: "response.output_audio_transcript.delta", response_id: "r1", delta: "One two." },
    { type: "local.voiced", response_id: "r1", samples: 8000 },
    { type: "local.played", item_id: "a1", samples: 4000 },
  ]);
  assert.deepEqual(textOf(state.entries[0]), { heard: "One ", rest: "two." });
});
