// What can go wrong, in words that say what to do. No browser in here.

const HTTP_WORDS = {
  401: () => keyNeeded(),
  403: (_, origin) => ({
    kind: "origin",
    title: "This page may not call the server",
    text: `The server takes no calls from ${origin}. Whoever runs it can allow them with access.origins.`,
  }),
  429: (message) => problem("limit", "Wait a little", message || "The server asks you to wait."),
  501: (message) => problem("webrtc", "The server has no WebRTC", `${message} Or choose WebSocket in the settings`),
  503: (message) => problem("stopping", "The server is stopping", message || "Try again soon."),
};

const CODE_WORDS = {
  server_full: (message) => problem("full", "All lines are busy", message, true),
  server_stopping: () => stopping(),
  resume_failed: () => gone(),
  call_over: (message) => problem("over", "The call is over", `It was ended: ${message}.`, true),
  rate_limit_exceeded: (message) => problem("limit", "A limit is reached", sentence(message), true),
};

const MICROPHONE_WORDS = {
  NotAllowedError: [
    "refused", "The microphone is not allowed",
    "Allow it for this page beside the address above, then try again. You can type meanwhile.",
  ],
  NotFoundError: [
    "missing", "No microphone was found",
    "Plug one in and try again. You can type meanwhile.",
  ],
  NotReadableError: [
    "busy", "The microphone is busy",
    "Another program seems to use it. Close that and try again. You can type meanwhile.",
  ],
};

function problem(kind, title, text, retry = false) {
  return { kind, title, text: sentence(text), retry };
}

function sentence(text) {
  const clean = (text ?? "").trim();
  return /[.!?]$/.test(clean) || !clean ? clean : `${clean}.`;
}

export function keyNeeded() {
  return problem("key", "A key is needed", "The server takes calls only with a valid key.");
}

export function gone() {
  const text = "The connection was away for too long.";
  return problem("gone", "The call could not be taken up again", text, true);
}

export function unreachable() {
  return problem("unreachable", "The server does not answer", "Is it running, and is the network up?", true);
}

function stopping() {
  const text = "It was asked to stop or to restart. Call again in a moment.";
  return problem("stopping", "The server is stopping", text, true);
}

/** Browsers give neither microphone nor audio threads to pages that came in clear. */
export function insecure() {
  return problem(
    "insecure", "This page is not secure",
    "Browsers give the microphone only to pages on https or on localhost: open it under such an address.",
  );
}

/** Why the microphone could not be had, from what getUserMedia threw. */
export function ofMicrophone(error) {
  const name = error.name === "OverconstrainedError" ? "NotFoundError" : error.name;
  const words = MICROPHONE_WORDS[name === "SecurityError" ? "NotAllowedError" : name];
  if (words) return problem(`microphone-${words[0]}`, words[1], words[2], true);
  return problem("microphone-failed", "The microphone does not work", `${error.message || error.name}`, true);
}

/** The browser or the system has put the audio to sleep, and wants a touch to wake it. */
export function asleep() {
  return problem("asleep", "The sound is paused", "Tap to go on.", true);
}

/** The microphone that was chosen is gone; another one listens. */
export function otherMicrophone() {
  const text = "The chosen one is not there, so the system's default is used.";
  return problem("other-microphone", "Another microphone listens", text);
}

/** Why nothing can be played. */
export function ofSpeaker(error) {
  if (error.name === "AbortError") return unreachable(); // the worklet did not come
  return problem("speaker", "This browser plays no sound", error.message || error.name, true);
}

/** Why a call could not begin, from the plain answer to the same request. */
export function ofAnswer(status, message, origin) {
  return HTTP_WORDS[status]?.(message, origin) ?? null;
}

export function lost() {
  const text = "The call is over. Nothing more was heard of the server.";
  return problem("lost", "The connection was lost", text, true);
}

/** Why the server ended the call, from its last error event and the close of the socket. */
export function ofClose(closeCode, reason, lastError) {
  const worded = CODE_WORDS[lastError?.code];
  if (worded) return worded(lastError.message);
  if (closeCode === 1013) return CODE_WORDS.server_full(reason);
  if (closeCode === 1012) return stopping();
  if (closeCode === 1000) return null;
  if (closeCode === 1006 || closeCode === 1005) return lost();
  const why = lastError?.message || reason || `close code ${closeCode}`;
  return problem("ended", "The server ended the call", why, true);
}
