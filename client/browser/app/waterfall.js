// Where the milliseconds of one turn went: the stages, and a picture of them.

// [name, words, begins with the latest of these, ends at]. The caller's last sample is 0.
const STAGES = [
  ["endpoint", "Sure you have ended", [], "endpoint"],
  ["ear", "Understanding you", ["pause"], "ear"],
  ["first_token", "Model begins", ["ear"], "first_token"],
  ["first_clause", "First words", ["first_token"], "first_clause"],
  ["first_audio", "Voice", ["first_clause"], "first_audio"],
  ["released", "Waiting for its turn", ["first_audio", "endpoint"], "released"],
  ["received", "Network", ["released"], "received"],
  ["audible", "Buffer and speaker", ["received"], "audible"],
];
const ROW = 22;
const LABELS = 150;
const FIGURES = 40;
const CROWDED = 80; // beside the first label
const NARROW = 320;
const WIDE = 590;

/**
 * The marks of an answer in ms after the caller's last sample, the server's and the browser's.
 * Where only the browser's clock knows the end of the turn the server's are taken over as they are.
 */
export function marksOf(answer) {
  const marks = { ...answer.server };
  const zero = answer.turn?.at_ms;
  if (typeof zero === "number") {
    for (const [name, at] of Object.entries(answer.client)) marks[name] = at - zero;
  }
  return marks;
}

/**
 * Rows of the picture: {name, words, from, to}, in order of the work; those that were reached. Of a
 * server that tells nothing only the whole is known.
 */
export function stagesOf(marks, { hasThought = false } = {}) {
  const rows = [];
  if (marks.released === undefined && marks.received > 0) {
    rows.push({ name: "received", words: "Server and network", from: 0, to: marks.received });
  }
  for (const [name, words, after, end] of STAGES) {
    if (marks[end] === undefined) continue;
    const begins = after.map((mark) => marks[mark]).filter((ms) => ms !== undefined);
    if (rows.length && after.length && !begins.length) continue; // the first begins at 0
    const to = Math.max(0, marks[end]);
    const isThought = hasThought && name === "first_clause"; // thoughts come before the words
    rows.push({ name, words: isThought ? "Thoughts, first words" : words, from: Math.max(0, Math.min(to, Math.max(0, ...begins))), to });
  }
  return rows;
}

/** Voice to voice in ms; null where it is not known. */
export function voiceToVoice(marks) {
  return marks.audible ?? null;
}

/** The picture of a turn, as an SVG element for `room` pixels; `zero` is what happens at 0 ms. */
export function picture(rows, document, room, zero) {
  const full = Math.max(NARROW, Math.min(WIDE, room));
  const end = Math.max(1, ...rows.map(({ to }) => to));
  const step = niceStep(end, full < 450 ? 3 : 6);
  const ticks = Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => i * step);
  const height = rows.length * ROW + 24;
  const x = (ms) => LABELS + (ms / end) * (full - LABELS - FIGURES);
  const svg = make(document, "svg", { viewBox: `0 0 ${full} ${height}`, role: "img" });
  const words = rows.map((row) => `${row.words} ${Math.round(row.to - row.from)} ms`).join(", ");
  svg.append(make(document, "title", {}, `Latency of this turn: ${words}`));
  for (const ms of ticks) {
    const at = x(ms);
    svg.append(make(document, "line", { x1: at, x2: at, y1: 0, y2: height - 20, class: "tick" }));
    if (ms > 0 && at - LABELS < CROWDED) continue;
    const anchor = ms === 0 ? "start" : "middle";
    const label = { x: at, y: height - 5, "text-anchor": anchor, class: "scale" };
    svg.append(make(document, "text", label, ms === 0 ? zero : `${ms} ms`));
  }
  rows.forEach((row, i) => svg.append(...bar(document, row, i, x)));
  return svg;
}

/** The same as a table, for those who do not see the picture. */
export function table(rows, document) {
  const made = make(document, "table", {}, "", "html");
  made.append(make(document, "caption", {}, "Latency of this turn", "html"));
  const head = line(document, "th", ["Stage", "From, ms", "To, ms"]);
  for (const cell of head.children) cell.setAttribute("scope", "col");
  made.append(head);
  for (const { words, from, to } of rows) {
    made.append(line(document, "td", [words, Math.round(from), Math.round(to)]));
  }
  return made;
}

function bar(document, { name, words, from, to }, i, x) {
  const y = i * ROW;
  const width = Math.max(2, x(to) - x(from));
  const shape = { x: x(from), y: y + 5, width, height: ROW - 10, rx: 3, class: `bar ${name}` };
  const figure = { x: x(from) + width + 6, y: y + 15, class: "figure" };
  return [
    make(document, "text", { x: LABELS - 10, y: y + 15, "text-anchor": "end", class: "stage" }, words),
    make(document, "rect", shape),
    make(document, "text", figure, `${Math.round(to - from)}`),
  ];
}

function line(document, kind, cells) {
  const row = make(document, "tr", {}, "", "html");
  row.append(...cells.map((cell) => make(document, kind, {}, String(cell), "html")));
  return row;
}

/** Round steps, at most `count` of them. */
function niceStep(end, count) {
  const steps = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
  return steps.find((step) => end / step <= count) ?? 60000;
}

function make(document, name, attributes, text = "", space = "svg") {
  const names = { svg: "http://www.w3.org/2000/svg", html: "http://www.w3.org/1999/xhtml" };
  const element = document.createElementNS(names[space], name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text) element.textContent = text;
  return element;
}
