// Clients over WebRTC in a page: @openai/agents' own transport, and a plain RTCPeerConnection as the
// documentation of the Realtime API has it. Only the address is changed.

const GREETING = "Hello there. How can I help you?";
const PLAYED_MS = 1500; // of the story, before it is interrupted
const QUESTION = "What time is it?";
const ANSWER = "It is ten. Time for tea.";
const WEATHER = "It is sunny in Paris.";
const STORY = [...Array(60).keys()].map((n) => `This is sentence ${n} of it.`).join(" ");
const FEATURE_MS = 60000;

function check(condition, message) {
  if (!condition) throw new Error(typeof message === "string" ? message : JSON.stringify(message));
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A microphone that says a tone when it is told to, or what the browser's own hears. */
async function microphone(isOwn) {
  const context = new AudioContext();
  await context.resume();
  if (isOwn) return { stream: await navigator.mediaDevices.getUserMedia({ audio: true }), context };
  const mouth = context.createMediaStreamDestination();
  const say = async () => {
    const tone = new OscillatorNode(context, { frequency: 300 });
    tone.connect(new GainNode(context, { gain: 0.3 })).connect(mouth);
    tone.start();
    tone.stop(context.currentTime + 0.8);
    await new Promise((resolve) => (tone.onended = resolve));
  };
  return { stream: mouth.stream, context, say };
}

/** How loud what comes is, and a recording of it. */
class Ear {
  constructor(context) {
    this.context = context;
    this.peak = 0;
  }

  listen(stream) {
    const analyser = new AnalyserNode(this.context, { fftSize: 2048 });
    this.context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      this.now = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      this.peak = Math.max(this.peak, this.now);
    }, 20);
    this.parts = [];
    this.recorder = new MediaRecorder(stream);
    this.recorder.ondataavailable = ({ data }) => this.parts.push(data);
    this.recorder.start();
  }

  async recording() {
    const ended = new Promise((resolve) => (this.recorder.onstop = resolve));
    this.recorder.stop();
    await ended;
    const bytes = new Uint8Array(await new Blob(this.parts).arrayBuffer());
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
  }
}

class Client {
  constructor() {
    this.events = [];
  }

  of(type) {
    return this.events.filter((event) => event.type === type);
  }

  async until(condition) {
    while (!condition()) {
      const error = this.of("error")[0];
      check(!error, error?.error.message);
      await pause(20);
    }
  }
}

/** @openai/agents over its WebRTC transport. */
class Agent extends Client {
  async connect(url, secret, { tools = [], isOwn = false } = {}) {
    const { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } = OpenAIAgentsRealtime;
    this.microphone = await microphone(isOwn);
    const audioElement = document.createElement("audio");
    audioElement.muted = true; // it is heard by the ear
    const transport = new OpenAIRealtimeWebRTC({
      mediaStream: this.microphone.stream,
      audioElement,
    });
    const agent = new RealtimeAgent({ name: "bot", instructions: "Greet the caller.", tools });
    this.session = new RealtimeSession(agent, { transport, model: "any" });
    this.failed = [];
    this.session.on("error", (error) => this.failed.push(JSON.stringify(error)));
    this.session.on("transport_event", (event) => this.events.push(event));
    await this.session.connect({ apiKey: secret, url });
    this.ear = new Ear(this.microphone.context);
    this.ear.listen(audioElement.srcObject);
    return this;
  }

  send(event) {
    this.session.transport.sendEvent(event);
  }

  said(role) {
    return this.session.history
      .filter((item) => item.type === "message" && item.role === role)
      .map((item) => item.content.map((part) => part.transcript ?? part.text ?? "").join("").trim());
  }

  stop() {
    this.session.interrupt();
  }

  close() {
    this.session.close();
  }
}

/** An RTCPeerConnection, a track and a channel. */
class Peer extends Client {
  async connect(url, secret, { isOwn = false } = {}) {
    this.microphone = await microphone(isOwn);
    this.ear = new Ear(this.microphone.context);
    const connection = new RTCPeerConnection();
    this.connection = connection;
    const audioElement = document.createElement("audio");
    audioElement.autoplay = true;
    audioElement.muted = true;
    connection.ontrack = (event) => {
      audioElement.srcObject = event.streams[0];
      this.ear.listen(event.streams[0]);
    };
    connection.addTrack(this.microphone.stream.getTracks()[0]);
    this.channel = connection.createDataChannel("oai-events");
    const opened = new Promise((resolve) => (this.channel.onopen = resolve));
    this.channel.addEventListener("message", (event) => this.events.push(JSON.parse(event.data)));
    await connection.setLocalDescription(await connection.createOffer());
    const form = new FormData();
    form.set("sdp", connection.localDescription.sdp);
    const transcription = { model: "whisper-1" };
    form.set("session", JSON.stringify({ type: "realtime", audio: { input: { transcription } } }));
    const answer = await fetch(url, {
      method: "POST",
      body: form,
      headers: { Authorization: `Bearer ${secret}` },
    });
    check(answer.status === 201, `${answer.status}: ${answer.statusText}`);
    this.callId = answer.headers.get("Location").split("/").pop();
    await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    await opened;
    return this;
  }

  send(event) {
    this.channel.send(JSON.stringify(event));
  }

  said(role) {
    const type = role === "user"
      ? "conversation.item.input_audio_transcription.completed"
      : "response.output_audio_transcript.done";
    return this.of(type).map(({ transcript }) => transcript.trim());
  }

  stop() {
    this.send({ type: "response.cancel" });
    this.send({ type: "output_audio_buffer.clear" });
  }

  close() {
    this.connection.close();
  }
}

const CLIENTS = { agents: Agent, peer: Peer };
const isPlayed = (client, count = 1) => client.of("output_audio_buffer.stopped").length >= count;

const FEATURES = {
  async greeting(client) {
    client.send({ type: "response.create" });
    await client.until(() => isPlayed(client) && client.said("assistant").includes(GREETING));
    check(client.ear.peak > 0.02, `silent: ${client.ear.peak}`);
  },

  async "spoken turn"(client) {
    await client.microphone.say();
    await client.until(() => isPlayed(client) && client.said("assistant").includes(ANSWER));
    await client.until(() => client.said("user").includes(QUESTION));
    check(client.ear.peak > 0.02, `silent: ${client.ear.peak}`);
    check(client.of("response.output_audio.delta").length === 0, "sound over the channel");
  },

  async "barge-in"(client) {
    await client.microphone.say();
    await client.until(() => client.of("output_audio_buffer.started").length);
    await pause(PLAYED_MS);
    await client.microphone.say();
    await client.until(() => client.of("output_audio_buffer.cleared").length);
    await client.until(() => client.said("assistant").includes(ANSWER) && isPlayed(client));
    const cut = client.of("conversation.item.truncated");
    check(cut.length, "nothing is truncated");
    const heardMs = cut[0].audio_end_ms;
    check(heardMs > PLAYED_MS / 2 && heardMs < PLAYED_MS + 3000, `heard ${heardMs} ms`);
    const [story] = client.said("assistant");
    check(STORY.startsWith(story), `the story was kept as ${JSON.stringify(story)}`);
  },

  async "stop by the client"(client) {
    await client.microphone.say();
    await client.until(() => client.of("output_audio_buffer.started").length);
    await pause(PLAYED_MS);
    client.stop();
    await client.until(() => client.of("output_audio_buffer.cleared").length);
    await client.until(() => client.of("response.done").length);
    await pause(500); // what is on its way
    check(client.ear.now < 0.01, `it goes on: ${client.ear.now}`);
    check(client.of("error").length === 0, client.of("error"));
  },

  async "tool call"(client) {
    await client.microphone.say();
    await client.until(() => client.said("assistant").includes(WEATHER) && isPlayed(client));
  },
};

function weather() {
  return OpenAIAgentsRealtime.tool({
    name: "get_weather",
    description: "How the weather is.",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
    execute: async ({ city }) => (city === "Paris" ? "sunny" : "unknown"),
  });
}

/** Try one feature; returns "ok" or what went wrong. */
async function outcome(name, feature, url, secret) {
  let timer;
  const client = new CLIENTS[name]();
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`in vain; there were ${client.events.slice(-12).map((e) => e.type)}`));
    }, FEATURE_MS);
  });
  try {
    const tools = name === "agents" && feature === "tool call" ? [weather()] : [];
    const whole = (async () => {
      await client.connect(url, secret, { tools });
      await FEATURES[feature](client);
      check(!client.failed?.length, client.failed);
    })();
    await Promise.race([whole, late]);
    return "ok";
  } catch (error) {
    return String(error?.message ?? error);
  } finally {
    clearTimeout(timer);
    client.close?.();
  }
}

/** Hear what the browser's own microphone hears, until `count` answers were played. */
async function converse(name, url, secret, count) {
  const client = await new CLIENTS[name]().connect(url, secret, { isOwn: true });
  await client.until(() => isPlayed(client, count));
  const recording = await client.ear.recording();
  const told = { said: client.said("user"), answers: client.said("assistant"), recording };
  client.close();
  return told;
}
