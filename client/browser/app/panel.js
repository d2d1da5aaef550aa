// Settings, the key, and the theme.

import { Share } from "./share.js";
import { choices, toolsIn } from "./settings.js";
import { microphones, speakers } from "./sound.js";

const byId = (id) => document.getElementById(id);
const THEMES = { auto: "light", light: "dark", dark: "auto" }; // each followed by the next
const THEME_WORDS = { auto: "as the system", light: "light", dark: "dark" };
const SYSTEMS = "The system's default";
const KEY_WORDS = [
  "It takes calls only from those who have one. Whoever runs the server can give you yours.",
  "It does not know this key. Look for a missing or a surplus character.",
];

export class Panel {
  constructor(page) {
    this.page = page;
    this.share = new Share();
    this.listen();
  }

  listen() {
    const { page } = this;
    const dialog = byId("settings");
    byId("open-settings").onclick = () => {
      this.fillChoices();
      this.fillMicrophones();
      dialog.showModal();
    };
    byId("save").onclick = () => page.keep();
    byId("clear").onclick = () => page.clear();
    byId("open-share").onclick = () => {
      dialog.close();
      this.share.open();
    };
    byId("open-log").onclick = () => {
      dialog.close();
      page.log.open();
    };
    const selects = ["voice", "model", "microphone", "speaker", "mode", "transport"];
    for (const name of [...selects, "instructions", "greeting"]) {
      byId(name).onchange = ({ target }) => page.set({ [name]: target.value });
    }
    byId("tools").onchange = ({ target }) => this.setTools(target);
    byId("show-thoughts").onchange = ({ target }) => page.set({ thoughts: target.checked });
    byId("show-timing").onchange = ({ target }) => page.set({ timing: target.checked });
    byId("use-keys").onchange = ({ target }) => page.set({ keys: target.checked });
    byId("theme").onclick = () => {
      page.set({ theme: THEMES[page.settings.theme] });
      this.show();
    };
    for (const each of [dialog, byId("key-dialog")]) {
      each.onclick = ({ target }) => {
        if (target === each) each.close(); // beside it
      };
    }
    byId("key-cancel").onclick = () => byId("key-dialog").close();
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      this.useKey();
    };
    byId("settings").querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close();
    };
  }

  show() {
    const { theme, mode, transport, thoughts, timing, keys } = this.page.settings;
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    byId("theme-name").textContent = `Light or dark: ${THEME_WORDS[theme]}`;
    byId("mode").value = mode;
    byId("transport").value = transport;
    byId("instructions").value = this.page.settings.instructions;
    byId("tools").value = this.page.settings.tools;
    byId("greeting").value = this.page.settings.greeting;
    byId("show-thoughts").checked = thoughts;
    byId("show-timing").checked = timing;
    byId("use-keys").checked = keys;
    fill(byId("voice"), [], this.page.settings.voice, "The server's default");
    fill(byId("model"), [], this.page.settings.model, "The server's default");
    fill(byId("microphone"), [], this.page.settings.microphone, SYSTEMS);
    fill(byId("speaker"), [], this.page.settings.speaker, SYSTEMS);
  }

  /** What cannot be read is not used, and said so. */
  setTools(field) {
    field.setCustomValidity("");
    try {
      toolsIn(field.value);
      this.page.set({ tools: field.value });
    } catch (error) {
      field.setCustomValidity(`These are no tools: ${error.message}.`);
      field.reportValidity();
    }
  }

  async fillChoices() {
    const { settings } = this.page;
    const { models, voices } = await choices(settings.key);
    fill(byId("voice"), voices, settings.voice, "The server's default");
    fill(byId("model"), models, settings.model, "The server's default");
  }

  async fillMicrophones() {
    const known = await microphones();
    fill(byId("microphone"), known, this.page.settings.microphone, SYSTEMS);
    const heard = await speakers();
    fill(byId("speaker"), heard, this.page.settings.speaker, SYSTEMS);
    byId("speaker").parentElement.hidden = heard.length === 0;
  }

  /** What the session is like, in a few words. */
  showSession({ model, audio }) {
    const names = [model, audio?.output?.voice].filter((name) => name && name !== "default");
    byId("facts").textContent = names.join(" · ");
  }

  askForKey({ wasWrong }) {
    byId("key-why").textContent = KEY_WORDS[wasWrong ? 1 : 0];
    byId("key").value = "";
    byId("key-keep").checked = this.page.keepsKey;
    byId("key-dialog").showModal();
  }

  useKey() {
    byId("key-dialog").close();
    this.page.keepsKey = byId("key-keep").checked;
    this.page.set({ key: byId("key").value.trim() });
    byId("key").value = "";
    this.page.begin();
  }
}

/** Fill a list; what is chosen and unknown stays in it, as the server may not tell what it has. */
function fill(select, known, chosen, none) {
  const isKnown = !chosen || known.some(({ id }) => id === chosen);
  const listed = isKnown ? known : [...known, { id: chosen, name: chosen }];
  select.replaceChildren(new Option(none, ""), ...listed.map(({ id, name }) => new Option(name, id)));
  select.value = chosen;
}
