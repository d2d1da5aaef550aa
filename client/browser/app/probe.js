// For tests and measurements: /?probe keeps everything that happens in the calls of the page.

const kept = {
  events: [],
  marks: [],
  phases: [],
  problems: [],
  playout: [], // what the playout told, but for positions; `time` is of the context's clock
  underruns: 0,
  state: () => null,
  call: null,
  sound: {},
};
globalThis.duplexTest = kept;

/** Keep what `call` tells; `state` gives the conversation as it is shown. */
export function watch(call, state) {
  kept.call = call;
  kept.state = state;
  kept.sound = { in: [], out: [] };
  call.addEventListener("event", ({ detail }) => {
    if (detail.type === "local.mark") kept.marks.push(detail);
    const { delta, ...rest } = detail;
    const isAudio = detail.type === "response.output_audio.delta";
    const told = isAudio ? { ...rest, chars: delta.length } : detail;
    kept.events.push({ at_ms: performance.now(), ...told });
  });
  call.addEventListener("phase", ({ detail }) => kept.phases.push(detail));
  call.addEventListener("problem", ({ detail }) => kept.problems.push(detail));
  call.addEventListener("underrun", () => (kept.underruns += 1));
  call.sound.addEventListener("playout", ({ detail }) => {
    if (detail.kind !== "position") kept.playout.push(detail);
  });
  call.addEventListener("tap", ({ detail }) => kept.sound[detail.direction].push(detail));
}

/** PCM16 in base64 of what was heard ("in") or played ("out"), from the context's beginning. */
kept.recording = (direction) => {
  const parts = kept.sound[direction];
  const last = parts.at(-1);
  const pcm = new Int16Array(last ? last.from + last.samples.length : 0);
  for (const { from, samples } of parts) {
    samples.forEach((value, i) => (pcm[from + i] = Math.max(-1, Math.min(1, value)) * 32767));
  }
  const bytes = new Uint8Array(pcm.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return { rate_hz: kept.call.sound.context.sampleRate, audio: btoa(text) };
};
