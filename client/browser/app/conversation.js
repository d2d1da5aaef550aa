// What was said in a call, as a pure function of its events: state in, state out. No browser here.
//
// An entry is what one side said at a time:
//   caller  {kind, id, text, status}; status: speaking | heard | final | failed
//   break   {kind, id}: another call begins
//   tool    {kind, id, name, given, output}: the model calls a tool; output is null until it is known
//   answer  {kind, id, items, words, samples, heard, status, thoughts, ...}; id is the response's.
// `words` are [{text, from, to}]: the text that the samples from..to of the answer voice.

const KEPT = 200; // entries

export const EMPTY = Object.freeze({ entries: Object.freeze([]), turn: null });

/** The conversation after `event`: one of the server's, or of RealtimeCall's own. */
export function reduce(state, event) {
  return HANDLERS[event.type]?.(state, event) ?? state;
}

/** What was heard of an answer, and what of it was not (yet). Written text counts as heard. */
export function textOf(answer) {
  let heard = answer.written;
  let rest = "";
  for (const { text, from, to } of answer.words) {
    if (answer.heard >= to) heard += text;
    else if (answer.heard <= from) rest += text;
    else {
      const share = (answer.heard - from) / (to - from);
      const count = wordEnd(text, Math.round(share * text.length));
      heard += text.slice(0, count);
      rest += text.slice(count);
    }
  }
  return { heard, rest };
}

/** What was said before another call begins; its model knows nothing of it. */
export function nextCall(state, id) {
  const entries = state.entries
    .filter((entry) => isShown(entry) && entry.status !== "speaking")
    .map((entry) => (entry.status === "making" ? { ...entry, status: "cut", isThinking: false } : entry));
  if (!entries.length || entries.at(-1).kind === "break") return { ...EMPTY, entries };
  return { ...EMPTY, entries: [...entries, { kind: "break", id }] };
}

/** The conversation as plain text, to be kept. */
export function asText({ entries }) {
  const lines = entries.filter(isShown).map((entry) => {
    if (entry.kind === "break") return "--- Another call ---";
    if (entry.kind === "tool") return `(${entry.name} ${entry.given} gives ${entry.output ?? "nothing yet"})`;
    if (entry.kind === "caller") return `You: ${entry.text}`;
    const { heard, rest } = textOf(entry);
    if (entry.status === "failed") return `Duplex: (the answer failed) ${entry.problem}`;
    const isCut = entry.status === "cut" || entry.status === "cancelled";
    return `Duplex: ${isCut ? `${heard.trim()} — (interrupted)`.trim() : `${heard}${rest}`.trim()}`;
  });
  return `${lines.join("\n\n")}\n`;
}

/** Whether an entry has anything to show. */
export function isShown(entry) {
  if (entry.kind === "break" || entry.kind === "tool") return true;
  if (entry.kind === "caller") return entry.text !== "" || entry.status === "speaking";
  const isEmpty = !entry.words.length && !entry.written && !entry.thoughts;
  return !isEmpty || entry.status === "making" || entry.status === "failed";
}

/** What goes on by the conversation itself: speaking | hearing | thinking, null if nothing does. */
export function activityOf({ entries }) {
  const answer = entries.findLast(({ kind }) => kind === "answer");
  const isCut = ["cut", "cancelled", "failed"].includes(answer?.status);
  if (answer?.client.started && answer.heard !== Infinity && !isCut) return "speaking";
  if (entries.findLast(({ kind }) => kind === "caller")?.status === "speaking") return "hearing";
  // What was heard before an answer has its answer, words or not.
  if (answer?.status === "making" || entries.at(-1)?.status === "heard") return "thinking";
  return null;
}

const HANDLERS = {
  "input_audio_buffer.speech_started": (state, { item_id: id }) =>
    add(
      { ...withoutUnsaid(state), turn: null }, // one that got no answer gets none any more
      { kind: "caller", id, text: "", status: "speaking" },
    ),

  "input_audio_buffer.speech_stopped": (state, { item_id: id }) =>
    change(state, id, (entry) => ({ ...entry, status: "heard" })),

  "input_audio_buffer.committed": (state, { item_id: id }) => {
    const known = find(state, id);
    if (known) return change(state, id, (entry) => ({ ...entry, status: "heard" }));
    return add(state, { kind: "caller", id, text: "", status: "heard" });
  },

  "response.function_call_arguments.done": (state, { call_id: id, name, arguments: given }) =>
    add(state, { kind: "tool", id, name, given, output: null }),

  "conversation.item.added": (state, { item }) => {
    if (item.type === "function_call_output") {
      return change(state, item.call_id, (entry) => ({ ...entry, output: item.output }));
    }
    if (item.role !== "user" || find(state, item.id)) return state;
    const text = (item.content ?? []).map((part) => part.text ?? part.transcript ?? "").join(" ");
    return text ? add(state, { kind: "caller", id: item.id, text, status: "final" }) : state;
  },

  "conversation.item.deleted": (state, { item_id: id }) => ({
    ...state,
    entries: state.entries.filter((entry) => entry.id !== id && !entry.items?.some((item) => item.id === id)),
  }),

  "conversation.item.input_audio_transcription.delta": (state, { item_id: id, delta }) =>
    change(state, id, (entry) => ({ ...entry, text: entry.text + delta })),

  "conversation.item.input_audio_transcription.completed": (state, { item_id: id, transcript }) =>
    change(state, id, (entry) => ({ ...entry, text: transcript.trim(), status: "final" })),

  "conversation.item.input_audio_transcription.failed": (state, { item_id: id }) =>
    change(state, id, (entry) => ({ ...entry, text: "(not understood)", status: "failed" })),

  "local.turn": (state, { at_ms, written = false }) => ({ ...state, turn: { at_ms, written } }),

  "response.created": (state, { response }) => {
    const resumes = response.metadata?.duplex_resumes ?? null;
    const answer = {
      kind: "answer",
      id: response.id,
      items: [], // {id, from}: each message of it, and after how many samples it begins
      words: [],
      written: "",
      samples: 0, // received
      heard: 0, // samples played
      status: "making", // making | done | cut | cancelled | incomplete | failed
      problem: "",
      thoughts: "",
      isThinking: false,
      resumes, // the id of the answer that it goes on with
      isResumed: false, // whether another goes on with it
      turn: resumes ? null : state.turn, // {at_ms, written}: when and how the caller had ended
      client: {}, // name -> at_ms, by the clock of the turn's
      server: null, // name -> ms after the caller's end
    };
    const before = change(state, resumes, (entry) => ({ ...entry, isResumed: true }));
    return { ...add(before, answer), turn: null };
  },

  "response.output_item.added": (state, { response_id: id, item }) =>
    item.type === "message" ? change(state, id, (entry) => withItem(entry, item.id)) : state,

  "response.output_audio_transcript.delta": (state, { response_id: id, delta }) =>
    change(state, id, (entry) => ({ ...entry, words: withText(entry.words, delta, entry.samples) })),

  "response.output_audio.delta": (state, { response_id: id, delta }) =>
    change(state, id, (entry) => {
      const samples = entry.samples + samplesIn(delta);
      return { ...entry, samples, words: endAt(entry.words, samples) };
    }),

  "local.voiced": (state, { response_id: id, samples: more }) =>
    change(state, id, (entry) => {
      const samples = entry.samples + more;
      return { ...entry, samples, words: endAt(entry.words, samples) };
    }),

  "response.output_text.delta": (state, { response_id: id, delta }) =>
    change(state, id, (entry) => ({ ...entry, written: entry.written + delta })),

  "response.done": (state, { response }) =>
    change(state, response.id, (entry) => {
      const status = response.status === "completed" ? "done" : response.status;
      const problem = response.status_details?.error?.message ?? "";
      return { ...entry, status: entry.status === "cut" ? "cut" : status, problem, isThinking: false };
    }),

  "duplex.thought.delta": (state, { response_id: id, delta }) =>
    change(state, id, (entry) => ({ ...entry, thoughts: entry.thoughts + delta, isThinking: true })),

  "duplex.thought.done": (state, { response_id: id, thought }) =>
    change(state, id, (entry) => ({ ...entry, thoughts: thought, isThinking: false })),

  "duplex.turn_metrics": (state, { response_id: id, marks_ms }) =>
    change(state, id, (entry) => ({ ...entry, server: marks_ms })),

  "local.mark": (state, { item_id, name, at_ms }) =>
    changeItem(state, item_id, (entry) => ({ ...entry, client: { [name]: at_ms, ...entry.client } })),

  "local.played": (state, { item_id, samples }) =>
    changeItem(state, item_id, (entry) =>
      entry.status === "cut" ? entry : { ...entry, heard: Math.max(entry.heard, upTo(entry, item_id, samples)) },
    ),

  "local.cut": (state, { item_id, samples }) =>
    changeItem(state, item_id, (entry) => {
      const heard = upTo(entry, item_id, samples);
      return { ...entry, heard: entry.status === "cut" ? Math.min(entry.heard, heard) : heard, status: "cut" };
    }),
};

function add(state, entry) {
  return { ...state, entries: [...state.entries, entry].slice(-KEPT) };
}

/** Without what was taken for speech and was none. */
function withoutUnsaid(state) {
  const isUnsaid = (entry) => entry.kind === "caller" && entry.status === "speaking";
  return { ...state, entries: state.entries.filter((entry) => !isUnsaid(entry)) };
}

function find(state, id) {
  return state.entries.find((entry) => entry.id === id);
}

function change(state, id, changed) {
  return changeWhere(state, (entry) => entry.id === id, changed);
}

function changeItem(state, item, changed) {
  return changeWhere(state, (entry) => entry.items?.some(({ id }) => id === item), changed);
}

function changeWhere(state, isIt, changed) {
  const at = state.entries.findLastIndex(isIt);
  if (at < 0) return state;
  const entry = changed(state.entries[at]);
  return entry === state.entries[at] ? state : { ...state, entries: state.entries.with(at, entry) };
}

/** The answer with one more message, which begins where the ones before it end. */
function withItem(entry, id) {
  const from = entry.samples;
  return { ...entry, items: [...entry.items, { id, from }], heard: Math.min(entry.heard, from) };
}

/** The samples of an answer up to `samples` of one of its items. */
function upTo({ items }, id, samples) {
  const at = items.findIndex((item) => item.id === id);
  return Math.min(items[at].from + samples, items[at + 1]?.from ?? Infinity);
}

/** Text comes before the audio that voices it; what comes at a time is one. */
function withText(words, text, from) {
  const last = words.at(-1);
  if (last?.to !== Infinity) return [...words, { text, from, to: Infinity }];
  return words.with(-1, { ...last, text: last.text + text });
}

/** The last words last until where the audio ends now. */
function endAt(words, samples) {
  return words.length ? words.with(-1, { ...words.at(-1), to: samples }) : words;
}

function samplesIn(base64) {
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  return ((base64.length / 4) * 3 - padding) / 2;
}

/** The end of the word that the character before `count` belongs to. */
function wordEnd(text, count) {
  if (count <= 0) return 0;
  const end = text.slice(count).search(/\s/);
  return /\s/.test(text[count - 1]) || end === 0 ? count : end < 0 ? text.length : count + end;
}
