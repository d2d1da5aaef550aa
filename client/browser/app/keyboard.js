// Keys for those who do not reach for the mouse. They do nothing while one writes or chooses.

const byId = (id) => document.getElementById(id);

export class Keyboard {
  constructor(page) {
    this.page = page;
    this.isHolding = false; // the space bar
  }

  listen() {
    document.addEventListener("keydown", (event) => this.down(event));
    document.addEventListener("keyup", (event) => this.up(event));
    addEventListener("blur", () => this.page.release()); // the key may be let go elsewhere
  }

  down(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { page } = this;
    if (event.key === "Escape") page.stop();
    else if (isWriting(event.target)) return;
    else if (event.key === " " && page.settings.mode === "hold" && page.isInCall && mayHold(event.target)) {
      event.preventDefault(); // nor scrolls
      if (!event.repeat) page.press();
      this.isHolding = true;
    } else if (!page.settings.keys) return; // those who dictate to their computer may not want them
    else if (event.key === "m" && page.isInCall) page.mute(!page.isMuted);
    else if (event.key === "/") {
      event.preventDefault();
      byId("text").focus();
    }
  }

  up(event) {
    if (event.key !== " " || !this.isHolding) return;
    event.preventDefault(); // or the button in focus is pressed
    this.isHolding = false;
    this.page.release();
  }
}

function isWriting(target) {
  return target.matches("input, select, textarea");
}

/** The space bar presses buttons, but for those of talking: that is what it is for then. */
function mayHold(target) {
  return ["hold", "talk"].includes(target.id) || !target.matches("button, summary");
}
