// What passes between the page and the server, for those who build upon it.

const KEPT = 500; // events
const byId = (id) => document.getElementById(id);

export class EventLog {
  constructor() {
    this.events = []; // {at, event}, the last ones
    const dialog = byId("log");
    byId("log-done").onclick = () => dialog.close();
    dialog.onclick = ({ target }) => target === dialog && dialog.close(); // beside it
    byId("log-kinds").oninput = () => this.show();
  }

  /** Keep an event; of sound only its length. */
  note(event) {
    if (event.type === "local.played") return; // many a second
    const at = new Date();
    const { delta, ...rest } = event;
    const isSound = event.type === "response.output_audio.delta";
    this.events.push({ at, event: isSound ? { ...rest, characters: delta.length } : event });
    if (this.events.length > KEPT) this.events.shift();
    if (byId("log").open) this.show();
  }

  open() {
    byId("log").showModal();
    this.show();
  }

  show() {
    const wanted = byId("log-kinds").value.trim();
    const list = byId("log-events");
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const shown = this.events.filter(({ event }) => event.type.includes(wanted));
    list.replaceChildren(...shown.map(entry));
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
