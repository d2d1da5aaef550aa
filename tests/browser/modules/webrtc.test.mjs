import assert from "node:assert/strict";
import { test } from "node:test";

import { offerUrl } from "../../../client/browser/app/webrtc.js";

const PAGE = "https://talk.example.org/voice/?transport=webrtc&probe";

test("a call begins beside the page, whatever path a proxy has put before both", () => {
  assert.equal(String(offerUrl({}, PAGE)), "https://talk.example.org/voice/v1/realtime/calls");
});

test("a model and another server are asked for as over a socket", () => {
  const options = { url: "ws://127.0.0.1:8765/v1/realtime", model: "large" };
  assert.equal(String(offerUrl(options, PAGE)), "http://127.0.0.1:8765/v1/realtime/calls?model=large");
});
