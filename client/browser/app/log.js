// What passes between the page and the server, for those who build upon it.

const KEPT = 500; // events
const byId = (id) => document.getElementById(id);

export class EventLog {
  constructor() {
    this.events = []; // {at, event}, the last ones
    const dialog = byId("log");
    byId("log-done").onclick = () => dialog.close();
    dialog.onclick = ({ target }) => {
      if (target === dialog) dialog.close(); // beside it
    };
    byId("log-kinds").oninput = () => this.show();
  }

  /** Keep an event; of sound only its length. */
  note(event) {
    if (event.type === "local.played") return; // many a second
    const at = new Date();
    const { delta, ...rest } = event;
    const isSound = event.type === "response.output_audio.delta";
    const kept = { at, event: isSound ? { ...rest, characters: delta.length } : event };
    this.events.push(kept);
    if (this.events.length > KEPT) this.events.shift();
    if (byId("log").open && this.isWanted(kept)) this.append(kept); // what is unfolded stays so
  }

  open() {
    byId("log").showModal();
    this.show();
  }

  show() {
    byId("log-events").replaceChildren();
    for (const kept of this.events) if (this.isWanted(kept)) this.append(kept);
  }

  isWanted({ event }) {
    return event.type.includes(byId("log-kinds").value.trim());
  }

  append(kept) {
    const list = byId("log-events");
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(entry(kept));
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }
}

function entry({ at, event }) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = `${at.toISOString().slice(11, 23)}  ${event.type}`;
  const whole = document.createElement("pre");
  whole.textContent = JSON.stringify(event, null, 2);
  details.append(summary, whole);
  return details;
}
