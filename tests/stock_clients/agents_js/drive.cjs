// @openai/agents-realtime over its WebSocket transport, with only the address changed. Versions
// 0.0.x speak the shape of the beta.
//
// Run in the directory whose node_modules holds the packages, with the addresses as JSON.

const { createRequire } = require("node:module");
const path = require("node:path");

const installed = createRequire(path.join(process.cwd(), "package.json"));
const { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } = installed(
  "@openai/agents-realtime",
);
const folder = path.join(process.cwd(), "node_modules", "@openai", "agents-realtime");
const { version } = installed(path.join(folder, "package.json"));
// Not exported: what decides silently whether an event of the server's counts.
const { parseRealtimeEvent } = installed(path.join(folder, "dist", "openaiRealtimeEvents.js"));

const { key, ...urls } = JSON.parse(process.argv[2]);
const RATE_HZ = 24000;
const CHUNK_MS = 20;
const FEATURE_MS = 120000;
const GREETING = "Hello there. How can I help you?";
const PRESENT = "I want to buy a present for my brother."; // first heard as "... for you."
const PLAYED_MS = 1500; // of the story, before it is interrupted
const QUESTION = "What time is it?";
const ANSWER = "It is ten. Time for tea.";
const WEATHER = "It is sunny in Paris.";
const STORY = [...Array(12).keys()].map((n) => `This is sentence ${n} of it.`).join(" ");

function pcm(seconds, level = 0.3) {
  const samples = Int16Array.from({ length: Math.round(seconds * RATE_HZ) }, (_, n) =>
    Math.round(32767 * level * Math.sin((2 * Math.PI * 300 * n) / RATE_HZ)),
  );
  return samples.buffer;
}

function check(condition, message) {
  if (!condition) throw new Error(typeof message === "string" ? message : JSON.stringify(message));
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A session, its words and its faults. */
class Bot {
  constructor(config, tools = []) {
    this.events = [];
    this.failed = [];
    this.interrupted = 0;
    this.audioBytes = 0;
    this.waiting = new Set();
    const agent = new RealtimeAgent({ name: "bot", instructions: "Greet the caller.", tools });
    this.config = config;
    this.agent = agent;
  }

  async connect(url) {
    const transport = new OpenAIRealtimeWebSocket({ url });
    // 0.0.x takes an address only here, where its session hands none on.
    const connect = transport.connect.bind(transport);
    transport.connect = (options) => connect({ ...options, url });
    this.session = new RealtimeSession(this.agent, {
      transport,
      model: "any",
      config: this.config,
    });
    this.session.on("error", (error) => this.note(() => this.failed.push(describe(error))));
    this.session.on("audio", (event) => this.note(() => (this.audioBytes += event.data.byteLength)));
    this.session.on("audio_interrupted", () => this.note(() => (this.interrupted += 1)));
    this.session.on("history_updated", () => this.note(() => {}));
    this.session.on("transport_event", (event) =>
      this.note(() => {
        this.events.push(event);
        const { isGeneric } = parseRealtimeEvent({ data: JSON.stringify(event) });
        const known = /^(error|session|conversation|input_audio_buffer|response)\./.test(event.type);
        if (known && isGeneric) this.failed.push(`not understood: ${JSON.stringify(event)}`);
      }),
    );
    await this.session.connect({ apiKey: key });
    return this;
  }

  note(change) {
    change();
    for (const wake of this.waiting) wake();
  }

  async until(condition) {
    while (true) {
      check(!this.failed.length, this.failed.join("; "));
      if (condition()) return;
      await new Promise((resolve) => this.waiting.add(resolve));
      this.waiting.clear();
    }
  }

  said(role) {
    return this.session.history
      .filter((item) => item.type === "message" && item.role === role)
      .map((item) => item.content.map((part) => part.transcript ?? part.text ?? "").join("").trim());
  }

  async say(silent = 0.8) {
    const sound = Buffer.concat([Buffer.from(pcm(0.8)), Buffer.from(pcm(silent, 0))]);
    const size = (RATE_HZ * CHUNK_MS * 2) / 1000;
    for (let start = 0; start < sound.length; start += size) {
      this.session.sendAudio(new Uint8Array(sound.subarray(start, start + size)).buffer);
      await pause(CHUNK_MS);
    }
  }

  done() {
    return this.events.filter((event) => event.type === "response.done").length;
  }
}

function describe(error) {
  const inner = error?.error ?? error;
  return inner?.message ?? JSON.stringify(inner);
}

async function withBot(url, config, use, tools) {
  const bot = await new Bot(config, tools).connect(url);
  try {
    await use(bot);
    check(!bot.failed.length, bot.failed.join("; "));
  } finally {
    bot.session.close();
  }
}

async function greeting(url) {
  await withBot(url, {}, async (bot) => {
    bot.session.transport.sendEvent({ type: "response.create" });
    await bot.until(() => bot.done() === 1 && bot.said("assistant").includes(GREETING));
    check(bot.audioBytes > RATE_HZ, bot.audioBytes);
  });
}

async function spokenTurn(url) {
  await withBot(url, {}, async (bot) => {
    await bot.say();
    await bot.until(() => bot.done() === 1 && bot.said("assistant").includes(ANSWER));
    await bot.until(() => bot.said("user").includes(QUESTION));
  });
}

async function bargeIn(url) {
  await withBot(url, {}, async (bot) => {
    await bot.say();
    await bot.until(() => bot.audioBytes > 0);
    await pause(PLAYED_MS);
    await bot.say();
    await bot.until(() => bot.done() === 2 && bot.said("assistant").includes(ANSWER));
    check(bot.interrupted > 0, "not interrupted");
    const [story] = bot.said("assistant");
    check(story && STORY.startsWith(story), `the story was kept as ${JSON.stringify(story)}`);
  });
}

async function goesOn(url) {
  await withBot(url, {}, async (bot) => {
    await bot.say(0.4);
    await bot.until(() => bot.events.some((event) => event.type === "response.created"));
    await bot.say();
    await bot.until(() => bot.done() === 2 && bot.said("user").includes(PRESENT));
    await bot.until(() => bot.said("assistant").includes(ANSWER));
    check(bot.said("user").length === 1, bot.said("user"));
    check(bot.said("assistant").length === 1, bot.said("assistant"));
  });
}

async function toolCall(url) {
  const weather = tool({
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
  await withBot(
    url,
    {},
    async (bot) => {
      await bot.say();
      await bot.until(() => bot.done() === 2 && bot.said("assistant").includes(WEATHER));
      const calls = bot.session.history.filter((item) => item.type === "function_call");
      check(calls.length === 1 && calls[0].output === "sunny", calls);
    },
    [weather],
  );
}

async function manualTurn(url) {
  await withBot(url, { audio: { input: { turnDetection: null } } }, async (bot) => {
    bot.session.sendAudio(pcm(1.0));
    bot.session.transport.sendEvent({ type: "input_audio_buffer.commit" });
    bot.session.transport.sendEvent({ type: "response.create" });
    await bot.until(() => bot.done() === 1 && bot.said("assistant").includes(ANSWER));
  });
}

async function outcome(feature, url) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing for ${FEATURE_MS} ms`)), FEATURE_MS);
  });
  try {
    await Promise.race([feature(url), late]);
    return "ok";
  } catch (error) {
    console.error(error);
    return String(error?.message ?? error);
  } finally {
    clearTimeout(timer);
  }
}

async function main() {
  const features = {
    greeting: ["talk", greeting],
    "spoken turn": ["talk", spokenTurn],
    "barge-in": ["story", bargeIn],
    "turn that goes on": ["present", goesOn],
    "tool call": ["weather", toolCall],
    "manual turn": ["talk", manualTurn],
  };
  const results = await Promise.all(
    Object.entries(features).map(async ([name, [scenario, feature]]) => [
      name,
      await outcome(feature, urls[scenario]),
    ]),
  );
  const client = `@openai/agents-realtime ${version}${/^0\.0\./.test(version) ? ", beta" : ""}`;
  console.log(JSON.stringify({ client, features: Object.fromEntries(results) }));
  process.exit(0);
}

main();
