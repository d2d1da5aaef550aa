// The page of calls: those that run, those that were recorded, and one of them.

import { call, calls, key, Refused, remove, setKey } from "./calls_api.js";
import { clock, day, facts, lineAt, party, phase, turns } from "./calls_words.js";
import { make } from "./elements.js";
import { load } from "./settings.js";
import { picture, stagesOf, table } from "./waterfall.js";

const byId = (id) => document.getElementById(id);
const shownId = () => decodeURIComponent(location.hash.slice(1)); // "" where the list is shown
const REFRESH_MS = 2000;
const WHO = { user: "Caller", assistant: "Answer", system: "Note", tool: "Tool" };
const STAGE_WORDS = { endpoint: "Sure of the end", ear: "Understanding" }; // of others, not of the reader
const FILES = {
  "audio.flac": "Sound (FLAC)",
  "transcript.vtt": "Transcript (WebVTT)",
  "transcript.jsonl": "Transcript (JSON lines)",
  "call.json": "Facts (JSON)",
};
let older = []; // recorded ones that were asked for beyond the newest
let lines = []; // of the call that is shown
let timer = null;

function view(name) {
  document.body.dataset.view = name;
  for (const id of ["list", "one"]) byId(id).hidden = id !== name;
  byId("leave").hidden = !key();
  if (name !== "one") {
    byId("sound").pause();
    byId("sound").removeAttribute("src");
  }
}

function problem(text) {
  byId("problem").hidden = !text;
  byId("problem-text").textContent = text;
}

/** Do `work`; ask for a key if it is refused, else say what went wrong. */
async function trying(work) {
  try {
    await work();
    problem("");
  } catch (error) {
    if (error instanceof Refused) askForKey();
    else problem(error.message);
  }
}

function askForKey() {
  clearTimeout(timer);
  view("none");
  if (key()) byId("key-why").textContent = "The server does not know this key, or it is not an admin's.";
  byId("key").value = "";
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

async function show() {
  clearTimeout(timer);
  const id = shownId();
  if (!key()) askForKey();
  else if (id) await trying(() => showOne(id));
  else await refresh();
}

async function refresh() {
  await trying(showList);
  const isShown = document.body.dataset.view === "list" && !shownId();
  if (isShown || !byId("problem").hidden) timer = setTimeout(refresh, REFRESH_MS);
}

async function showList() {
  if (document.hidden && document.body.dataset.view === "list") return;
  const told = await calls();
  if (shownId()) return;
  view("list");
  byId("running").replaceChildren(...told.running.map(runningCard));
  byId("no-running").hidden = told.running.length > 0;
  const oldest = told.recorded.at(-1)?.id ?? "";
  older = older.filter(({ id }) => id < oldest);
  if (!older.length) byId("more").hidden = !told.has_more;
  byId("recorded").replaceChildren(...[...told.recorded, ...older].map(recordedCard));
  byId("no-recorded").hidden = told.recorded.length > 0;
  byId("no-recorded").textContent = told.records
    ? "No call has been recorded yet."
    : "This server records no calls: recording.dir is not set.";
}

async function showOlder() {
  const last = byId("recorded").lastElementChild?.firstElementChild.hash.slice(1);
  const told = await calls(decodeURIComponent(last));
  older.push(...told.recorded);
  byId("recorded").append(...told.recorded.map(recordedCard));
  byId("more").hidden = !told.has_more;
}

function runningCard(told) {
  const card = make("div", "card");
  const state = make("span", "phase", phase(told.phase));
  state.dataset.phase = told.phase;
  const rest = make("span", "rest", `${party(told)} · `);
  rest.append(state);
  card.append(
    make("span", "when", day(told.began)),
    make("span", "length", clock(told.seconds)),
    rest,
    make("span", "turns", turns(told.turns)),
  );
  return inItem(card);
}

function recordedCard(told) {
  const card = make("a", "card");
  card.href = `#${encodeURIComponent(told.id)}`;
  card.append(
    make("span", "when", day(told.began)),
    make("span", "length", clock(told.seconds)),
    make("span", "rest", party(told)),
    make("span", "turns", turns(told.turns)),
  );
  return inItem(card);
}

async function showOne(id) {
  const told = await call(id);
  view("one");
  byId("one-title").textContent = day(told.call.began);
  byId("one-facts").textContent = facts(told.call);
  const sound = told.files["audio.flac"];
  byId("sound").hidden = byId("channels").hidden = !sound;
  if (sound) byId("sound").src = `v1/calls/${sound}`;
  byId("files").replaceChildren(
    ...Object.entries(FILES)
      .filter(([name]) => told.files[name])
      .map(([name, words]) => {
        const link = make("a", "", words);
        link.href = `v1/calls/${told.files[name]}`;
        link.download = `${id}-${name}`;
        return link;
      }),
  );
  lines = told.transcript;
  const stages = new Map(told.call.answers.map((answer) => [answer.item_id, answer]));
  byId("transcript").replaceChildren(...lines.map(turnOf));
  lines.forEach((line, i) => {
    const answer = stages.get(line.item_id);
    if (answer?.turn_item_id) addTiming(byId("transcript").children[i].querySelector(".body"), answer.marks_ms);
  });
  byId("stage").scrollTop = 0;
}

function turnOf({ role, text, start, cut }) {
  const element = make("article", `turn ${role}`);
  const side = make("div", "");
  const at = make("button", "at", clock(start));
  at.type = "button";
  at.title = "Play from here";
  at.onclick = () => {
    byId("sound").currentTime = start;
    byId("sound").play();
  };
  side.append(make("h2", "who", WHO[role] ?? role), at);
  const body = make("div", "body");
  const said = make("p", "said", text);
  if (cut) said.append(make("span", "cut", " —"), make("span", "note", "interrupted"));
  body.append(said);
  element.append(side, body);
  return element;
}

function addTiming(body, marks) {
  const rows = stagesOf(marks).map((row) => ({ ...row, words: STAGE_WORDS[row.name] ?? row.words }));
  if (!rows.length) return;
  const details = make("details", "timing");
  const summary = make("summary", "");
  const total = make("b", "", `${(marks.released / 1000).toFixed(2)} s`);
  if (marks.released === undefined) summary.append("Timing");
  else summary.append(total, " from the caller's last word until the answer went out");
  const seen = make("div", "hidden");
  seen.append(table(rows, document));
  details.append(summary, picture(rows, document, body.clientWidth - 32, "caller stops"), seen);
  body.append(details);
}

function follow() {
  const now = byId("sound").paused ? -1 : lineAt(lines, byId("sound").currentTime);
  [...byId("transcript").children].forEach((turn, i) => turn.classList.toggle("now", i === now));
}

function inItem(card) {
  const item = make("li", "");
  item.append(card);
  return item;
}


const { theme } = load();
if (theme !== "auto") document.documentElement.dataset.theme = theme;
byId("key-form").onsubmit = () => {
  setKey(byId("key").value.trim());
  show();
};
byId("leave").onclick = () => {
  setKey("");
  askForKey();
};
byId("more").onclick = () => trying(showOlder);
byId("delete").onclick = () => byId("delete-dialog").showModal();
byId("delete-dialog").onclose = ({ target }) => {
  if (target.returnValue !== "delete") return;
  target.returnValue = "";
  trying(async () => {
    await remove(shownId());
    location.hash = "";
  });
};
for (const event of ["timeupdate", "pause", "play", "seeked"]) byId("sound").addEventListener(event, follow);
addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => !document.hidden && show());
show();
