// Calls in words. No browser here.

const PHASES = { hearing: "caller speaks", thinking: "thinks", speaking: "answers", waiting: "quiet" };
const CLIENTS = { websocket: "WebSocket", webrtc: "WebRTC", sip: "SIP" };
const ENDS = {
  hung_up: "hung up",
  dropped: "dropped",
  not_resumed: "lost its client",
  idle: "nothing came for too long",
  too_long: "lasted too long",
  server_stopping: "the server stopped",
  lost: "the server was lost",
};

/** 65.2 -> "1:05"; hours only if there are any. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, i) => (i ? String(part).padStart(2, "0") : String(part))).join(":");
}

/** When a call began, in the reader's own time. */
export function day(iso, locale = undefined) {
  return new Date(iso).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
}

export function turns(count) {
  return count === 1 ? "1 turn" : `${count} turns`;
}

export function phase(name) {
  return PHASES[name] ?? name;
}

/** Whose call it is, and over what. */
export function party({ key, client }) {
  return [key || "anybody", CLIENTS[client] ?? client].join(" · ");
}

export function facts(call) {
  const told = [clock(call.seconds), party(call), call.model, call.voice, call.language, turns(call.turns)];
  return [...told, `ended: ${ENDS[call.ended] ?? call.ended}`].filter(Boolean).join(" · ");
}

/** The line of a transcript that is spoken at a time, -1 if none is. */
export function lineAt(lines, seconds) {
  return lines.findLastIndex(({ start, end }) => start <= seconds && seconds <= end + 0.3);
}
