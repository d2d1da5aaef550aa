// The conversation on the page: one element an entry, changed only where the entry was.

import { isShown, textOf } from "./conversation.js";
import { make } from "./elements.js";
import { marksOf, picture, stagesOf, table, voiceToVoice } from "./waterfall.js";

const NEAR_END_PX = 120; // whoever has scrolled further up reads something older
const WHO = { caller: "You", answer: "Duplex", tool: "Tool" };

export class Thread {
  /** `announce` is told, for screen readers, what was said, once it is final. */
  constructor(root, { announce, showsTiming, onScroll, onResult }) {
    this.root = root;
    this.announce = announce;
    this.showsTiming = showsTiming; // whether the newest turn's is opened
    this.shown = new Map(); // id -> {entry, element}
    this.onResult = onResult; // told what the person says that a tool gives
    this.onScroll = onScroll; // told whether the newest is in sight
    this.wasAtEnd = true; // before the window changed, as a phone's does that is turned
    root.parentElement.onscroll = () => {
      this.wasAtEnd = this.isAtEnd();
      onScroll(this.wasAtEnd);
    };
    new ResizeObserver(() => this.wasAtEnd && this.toEnd()).observe(root.parentElement);
    this.opened = null; // the timing that was opened by itself
  }

  /** Show `state`. Returns whether anything is to be seen. */
  show({ entries }) {
    const isAtEnd = this.isAtEnd();
    const ids = new Set(entries.map(({ id }) => id));
    for (const [id, { element }] of this.shown) {
      if (ids.has(id)) continue;
      element.remove();
      this.shown.delete(id);
    }
    for (const entry of entries) {
      const known = this.shown.get(entry.id);
      if (known?.entry === entry) continue;
      const element = known?.element ?? this.begin(entry);
      this.shown.set(entry.id, { entry, element });
      element.hidden = !isShown(entry);
      if (entry.kind === "break") continue;
      if (entry.kind === "tool") {
        this.showTool(element, entry);
        continue;
      }
      if (entry.kind === "caller") this.showCaller(element, entry, known?.entry);
      else this.showAnswer(element, entry, known?.entry);
    }
    if (isAtEnd) this.toEnd();
    this.onScroll(this.isAtEnd());
    return entries.some(isShown);
  }

  clear() {
    this.root.replaceChildren();
    this.shown.clear();
  }

  begin({ kind }) {
    if (kind === "break") {
      const line = make("p", "break", "Another call. It does not know what was said above.");
      this.root.append(line);
      return line;
    }
    const element = make("article", `turn ${kind}`);
    const said = make("p", "said");
    element.append(make("h2", "who", WHO[kind]));
    const body = make("div", "body");
    body.append(said);
    element.append(body);
    this.root.append(element);
    return element;
  }

  /** A call of a tool, and a field for what it gives: the page itself runs none. */
  showTool(element, { id, name, given, output }) {
    element.querySelector(".said").textContent = `${name} ${given}`;
    element.querySelector(".result")?.remove();
    const body = element.querySelector(".body");
    if (output !== null) {
      body.append(make("p", "result", output));
      return;
    }
    const form = make("form", "result");
    const field = make("input", "");
    field.setAttribute("aria-label", `What ${name} gives`);
    field.placeholder = "What it gives, as text or JSON";
    form.append(field, make("button", "", "Answer"));
    form.onsubmit = (event) => {
      event.preventDefault();
      this.onResult(id, field.value);
    };
    body.append(form);
  }

  showCaller(element, { text, status }, before) {
    element.dataset.status = status;
    element.querySelector(".said").textContent = text || "…";
    if (status === "final" && before?.status !== "final" && text) this.announce(`You: ${text}`);
  }

  showAnswer(element, entry, before) {
    const { heard, rest } = textOf(entry);
    const isCut = entry.status === "cut" || entry.status === "cancelled";
    element.dataset.status = entry.status;
    const said = element.querySelector(".said");
    said.replaceChildren(make("span", "heard", heard));
    if (entry.resumes) said.prepend(make("span", "cut", "… "));
    if (!isCut) said.append(make("span", "rest", rest));
    else if (entry.isResumed) said.append(make("span", "cut", "…"));
    else said.append(make("span", "cut", heard.trim() ? " —" : "—"), make("span", "note", "interrupted"));
    if (entry.status === "incomplete") said.append(make("span", "note", "cut short: the answer is too long"));
    if (entry.status === "failed") {
      said.append(make("span", "note", `The answer failed. ${entry.problem}`));
    }
    this.showThoughts(element, entry, before);
    const isTold = ["client", "server", "status"].some((name) => entry[name] !== before?.[name]);
    if (isTold && entry.status !== "making") this.showTiming(element, entry);
    if (isFinal(entry, rest) && heard && !(before && isFinal(before, textOf(before).rest))) {
      this.announce(`Answer: ${heard}${isCut ? ", interrupted" : ""}`);
    }
  }

  showThoughts(element, { thoughts, isThinking }, before) {
    if (!thoughts || thoughts === before?.thoughts) {
      element.querySelector(".thoughts summary")?.classList.toggle("live", isThinking);
      return;
    }
    let details = element.querySelector(".thoughts");
    if (!details) {
      details = make("details", "thoughts");
      details.append(make("summary", "", "Thoughts"), make("p", ""));
      element.querySelector(".body").prepend(details);
    }
    details.querySelector("summary").classList.toggle("live", isThinking);
    details.querySelector("p").textContent = thoughts;
  }

  showTiming(element, entry) {
    const marks = marksOf(entry);
    const rows = stagesOf(marks, { hasThought: entry.thoughts !== "" });
    if (!rows.length) return;
    let details = element.querySelector(".timing");
    if (!details) {
      details = make("details", "timing");
      details.append(make("summary", ""));
      element.querySelector(".body").append(details);
      if (this.showsTiming()) this.openOnly(details);
    }
    const total = voiceToVoice(marks);
    const summary = details.querySelector("summary");
    if (total === null) summary.replaceChildren("Timing");
    else {
      const words = entry.turn.written ? " until it spoke" : " from your last word to its first sound";
      summary.replaceChildren(make("b", "", `${(total / 1000).toFixed(2)} s`), words);
    }
    const seen = make("div", "hidden");
    seen.append(table(rows, document));
    const room = element.querySelector(".body").clientWidth - 32;
    details.replaceChildren(summary, picture(rows, document, room, entry.turn?.written ? "sent" : "you stop"), seen);
  }

  openOnly(details) {
    if (this.opened) this.opened.open = false;
    details.open = true;
    this.opened = details;
  }

  isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.root.parentElement;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  toEnd() {
    this.root.parentElement.scrollTop = this.root.parentElement.scrollHeight;
  }
}

/** Whether nothing more of it will be heard. */
function isFinal({ status }, rest) {
  return status === "done" ? rest === "" : status !== "making";
}
