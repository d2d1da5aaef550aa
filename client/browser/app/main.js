// The page: what its buttons and keys do, and what it shows of a call.

import { EMPTY, activityOf, asText, nextCall, reduce } from "./conversation.js";
import { Keyboard } from "./keyboard.js";
import { Wave } from "./levels.js";
import { EventLog } from "./log.js";
import { Panel } from "./panel.js";
import { RealtimeCall } from "./realtime.js";
import { load, save, toolsIn } from "./settings.js";
import { Thread } from "./thread.js";

const PHASE_WORDS = {
  idle: "Press to talk",
  connecting: "Connecting",
  asking: "May it use the microphone?",
  waiting: "Connection lost, trying again",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "About to answer",
  speaking: "Speaking; just talk to interrupt",
  muted: "Muted",
  hold: "Hold to talk",
  writing: "No microphone; write instead",
};
// Told to screen readers; the rest changes with every word and would talk over the answer.
const NEWS = { muted: "Muted", waiting: PHASE_WORDS.waiting, over: "The call is over" };
const byId = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const probe = query.has("probe") ? await import("./probe.js") : null;

class Page {
  constructor() {
    this.settings = load();
    this.keepsKey = this.settings.key !== "";
    this.call = null;
    this.hasCalled = false;
    this.state = EMPTY;
    this.hasMicrophone = null; // until it is known
    this.isMuted = false;
    this.toRender = false;
    this.thread = new Thread(byId("thread"), {
      announce: (text) => byId("announce").append(paragraph(text)),
      showsTiming: () => this.settings.timing,
      onResult: (callId, output) => this.call?.giveResult(callId, output),
      onScroll: (isAtEnd) => (byId("newest").hidden = isAtEnd),
    });
    this.log = new EventLog();
    this.lock = null; // set while the screen is kept on
    this.numbered = 0; // calls
    this.waves = { in: new Wave(byId("level-in"), "in"), out: new Wave(byId("level-out"), "out") };
    this.panel = new Panel(this);
    new Keyboard(this).listen();
    this.listen();
    this.panel.show();
    this.show();
    requestAnimationFrame((ms) => this.draw(ms));
  }

  get isInCall() {
    return this.call !== null;
  }

  listen() {
    byId("talk").onclick = () => (this.isInCall ? this.call.hangUp() : this.begin());
    byId("mute").onclick = () => this.mute(!this.isMuted);
    byId("stop").onclick = () => this.stop();
    byId("problem-retry").onclick = () => this.retry();
    byId("problem-close").onclick = () => this.hideProblem();
    byId("newest").onclick = () => this.thread.toEnd();
    // Else the server would hold the line for a page that is gone.
    addEventListener("pagehide", () => this.call?.hangUp());
    document.addEventListener("visibilitychange", () => this.keepAwake());
    byId("write").onsubmit = (event) => {
      event.preventDefault();
      this.write();
    };
    const hold = byId("hold");
    hold.onpointerdown = (event) => {
      hold.setPointerCapture(event.pointerId);
      this.press();
    };
    hold.onpointerup = hold.onpointercancel = () => this.release();
  }

  /** Call, and say `text` first if there is any. */
  async begin(text = "") {
    this.hideProblem();
    const { model, voice, key, mode, thoughts, microphone, instructions, greeting } = this.settings;
    const tools = toolsIn(this.settings.tools);
    const call = new RealtimeCall({
      key, model, voice, microphone,
      transport: query.get("transport") ?? this.settings.transport,
      session: {
        ...(instructions.trim() ? { instructions } : {}),
        ...(tools ? { tools } : {}),
      },
      pushToTalk: mode === "hold",
      extras: {
        metrics: true, thoughts, resume: true,
        // A person who writes first is not greeted.
        ...(text ? { greeting: "" } : greeting.trim() && { greeting }),
      },
      tap: probe !== null,
    });
    this.call = call;
    this.hasCalled = true;
    this.numbered += 1;
    this.state = nextCall(this.state, `call_${this.numbered}`);
    this.mute(false);
    this.hasMicrophone = null;
    probe?.watch(call, () => this.state);
    const on = (name, told) =>
      call.addEventListener(name, ({ detail }) => {
        if (call === this.call || this.call === null) told(detail); // else of the call before
      });
    on("phase", (phase) => this.entered(phase));
    on("event", (event) => this.receive(event));
    on("problem", (problem) => this.showProblem(problem));
    on("solved", ({ kind }) => byId("problem").dataset.kind === kind && this.hideProblem());
    on("level", ({ direction, level }) => this.waves[direction].push(level));
    on("microphone", ({ isListening }) => {
      this.hasMicrophone = isListening;
      this.panel.fillMicrophones();
      this.show();
    });
    if (text) {
      const once = ({ detail }) => {
        if (detail.type !== "session.updated") return;
        call.removeEventListener("event", once);
        call.say(text);
      };
      call.addEventListener("event", once);
    }
    await call.start();
  }

  entered(phase) {
    if (phase === "over") this.call = null;
    if (phase === "over") this.waves.out.clear();
    if (phase === "open") this.panel.fillChoices();
    if (phase === "open") this.call.speakOver(this.settings.speaker);
    this.keepAwake();
    this.show();
  }

  receive(event) {
    this.log.note(event);
    const before = this.state;
    this.state = reduce(this.state, event);
    if (event.type === "session.updated") this.panel.showSession(event.session);
    if (this.state !== before && !this.toRender) {
      this.toRender = true;
      queueMicrotask(() => this.show());
    }
  }

  write() {
    const input = byId("text");
    const text = input.value.trim();
    if (!text || (this.isInCall && this.call.phase !== "open")) return; // it stays to be sent
    input.value = "";
    if (this.isInCall) this.call.say(text);
    else this.begin(text);
  }

  /** What went wrong may go well now: in a call it is the microphone or the sound. */
  retry() {
    const isAsleep = byId("problem").dataset.kind === "asleep";
    this.hideProblem();
    if (this.isInCall && isAsleep) this.call.wake();
    else if (this.isInCall) this.call.listen(this.settings.microphone);
    else this.begin();
  }

  mute(isMuted) {
    this.isMuted = isMuted;
    this.call?.mute(isMuted);
    this.show();
  }

  stop() {
    this.call?.stop();
  }

  press() {
    if (this.settings.mode !== "hold" || !this.isInCall) return;
    this.call.press();
    this.show();
  }

  release() {
    this.call?.release();
    this.show();
  }

  /** Let the screen of a phone not go dark in a call: the browser would go to sleep with it. */
  async keepAwake() {
    const isWanted = this.call?.phase === "open" && document.visibilityState === "visible";
    if (!isWanted) {
      this.lock?.release();
      this.lock = null;
    } else if (!this.lock || this.lock.released) {
      this.lock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    }
  }

  /** Give the person the conversation as a file. */
  keep() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([asText(this.state)], { type: "text/plain" }));
    link.download = `conversation-${new Date().toISOString().slice(0, 16).replace(":", "-")}.txt`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  /** Forget what was said; a call goes on. */
  clear() {
    this.state = EMPTY;
    this.thread.clear();
    this.show();
  }

  /** Change settings; those that a call can change hold at once. */
  set(changed) {
    this.settings = { ...this.settings, ...changed };
    save(this.settings, { keepKey: this.keepsKey });
    if ("voice" in changed) this.call?.setVoice(changed.voice || null);
    if ("thoughts" in changed) this.call?.setExtras({ thoughts: changed.thoughts });
    if ("mode" in changed) this.call?.setPushToTalk(changed.mode === "hold");
    if ("speaker" in changed) this.call?.speakOver(changed.speaker);
    if ("instructions" in changed) this.call?.instruct(changed.instructions);
    if ("tools" in changed) this.call?.setTools(toolsIn(changed.tools));
    if ("microphone" in changed) this.call?.listen(changed.microphone);
    if ("model" in changed && this.isInCall) {
      this.call.hangUp();
      this.begin();
    }
    this.show();
  }

  showProblem(problem) {
    if (problem.kind === "key") {
      this.panel.askForKey({ wasWrong: this.settings.key !== "" });
      return;
    }
    byId("problem").dataset.kind = problem.kind;
    byId("problem-title").textContent = problem.title;
    byId("problem-text").textContent = problem.text;
    byId("problem-retry").hidden = !problem.retry;
    const isMicrophone = problem.kind.startsWith("microphone");
    byId("problem-retry").textContent =
      problem.kind === "asleep" ? "Go on" : isMicrophone ? "Try again" : "Call again";
    byId("problem").hidden = false;
  }

  hideProblem() {
    byId("problem").hidden = true;
  }

  activity() {
    const phase = this.call?.phase ?? "idle";
    if (phase !== "open") return phase === "over" ? "idle" : phase;
    const said = activityOf(this.state);
    if (said === "speaking" || said === "hearing") return said;
    if (this.call.pressedAt !== null) return "hearing";
    if (said) return said;
    if (this.hasMicrophone === null) return "asking";
    if (!this.hasMicrophone) return "writing";
    if (this.settings.mode === "hold") return "hold";
    return this.isMuted ? "muted" : "listening";
  }

  show() {
    this.toRender = false;
    const { body } = document;
    const activity = this.activity();
    const isOpen = this.call?.phase === "open";
    const isHeld = this.settings.mode === "hold";
    body.dataset.phase = this.call?.phase ?? "idle";
    body.dataset.activity = activity;
    body.dataset.mode = this.settings.mode;
    const words = isHeld && activity === "speaking" ? "Speaking; hold to interrupt" : PHASE_WORDS[activity];
    if (byId("phase").textContent !== words) byId("phase").textContent = words;
    this.tellNews();
    byId("talk-name").textContent = this.isInCall ? "Hang up" : "Talk";
    byId("mute").disabled = !isOpen || !this.hasMicrophone;
    byId("mute").hidden = isHeld;
    byId("mute").setAttribute("aria-pressed", String(this.isMuted));
    byId("hold").hidden = !isHeld;
    byId("hold").disabled = !isOpen || !this.hasMicrophone;
    byId("hold").classList.toggle("held", (this.call?.pressedAt ?? null) !== null);
    byId("stop").disabled = !["speaking", "thinking"].includes(activity);
    byId("hero").hidden = this.thread.show(this.state);
    byId("save").disabled = byId("clear").disabled = this.state.entries.length === 0;
  }

  tellNews() {
    const phase = this.call?.phase ?? (this.hasCalled ? "over" : "idle");
    const news = NEWS[phase === "open" && this.isMuted ? "muted" : phase] ?? "";
    if (byId("news").textContent !== news) byId("news").textContent = news;
  }

  draw(ms) {
    this.waves.in.draw(ms);
    this.waves.out.draw(ms);
    requestAnimationFrame((next) => this.draw(next));
  }
}

/** One announcement replaces the one before, so that each is read once. */
function paragraph(text) {
  byId("announce").replaceChildren();
  const made = document.createElement("span");
  made.textContent = text;
  return made;
}

new Page();
