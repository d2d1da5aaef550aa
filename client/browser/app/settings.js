// What the person chose, kept in this browser. The key only if they wish so.

const NAME = "duplex.settings";
const DEFAULTS = Object.freeze({
  model: "",
  voice: "",
  microphone: "",
  speaker: "",
  instructions: "", // who it is to be; empty: as the server has it
  greeting: "", // what it says first
  tools: "", // JSON of the tools that it may call
  mode: "open", // or "hold"
  transport: "websocket", // or "webrtc"
  theme: "auto", // or "light", "dark"
  thoughts: true,
  // Whether the newest turn's is unfolded; on a phone that would be half of the screen.
  timing: globalThis.matchMedia?.("(min-width: 40rem)").matches ?? true,
  keys: true, // M and / as shortcuts
  key: "",
});

const ofBrowser = () => localStorage; // where it is forbidden even looking at it throws

/** The settings as they are, with the defaults for what is absent. `storage` gives the storage. */
export function load(storage = ofBrowser) {
  let kept = {};
  try {
    kept = JSON.parse(storage().getItem(NAME)) ?? {};
  } catch {
    // Somebody else's text, or a browser that keeps nothing: the defaults will do.
  }
  const known = Object.entries(kept).filter(
    ([name, value]) => name in DEFAULTS && typeof value === typeof DEFAULTS[name],
  );
  return { ...DEFAULTS, ...Object.fromEntries(known) };
}

/** Keep the settings, with the key only if `keepKey`. */
export function save(settings, { keepKey }, storage = ofBrowser) {
  const kept = { ...settings, key: keepKey ? settings.key : "" };
  try {
    storage().setItem(NAME, JSON.stringify(kept));
  } catch {
    // Browsers may refuse, above all in private windows; the choice holds for this visit.
  }
}

/** The tools that a text describes, null for none. Throws SyntaxError if it describes something else. */
export function toolsIn(text) {
  if (!text.trim()) return null;
  const tools = JSON.parse(text);
  const isTool = (tool) => typeof tool?.name === "string" && tool.type === "function";
  if (!Array.isArray(tools) || !tools.every(isTool)) throw new SyntaxError("a list of functions is wanted");
  return tools;
}

/** Models and voices of the server; empty lists if it does not tell. */
export async function choices(key) {
  try {
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const answer = await fetch("v1/models", { headers, cache: "no-store" });
    if (!answer.ok) return { models: [], voices: [] };
    const told = await answer.json();
    const voices = (told.voices ?? []).map(({ id, name }) => ({ id, name: name ?? id }));
    return { models: (told.data ?? []).map(({ id }) => ({ id, name: id })), voices };
  } catch {
    return { models: [], voices: [] };
  }
}
