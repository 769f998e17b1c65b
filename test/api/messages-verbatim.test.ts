import type { ServerResponse } from "node:http";
import Anthropic from "@anthropic-ai/sdk";
import { expect, onTestFinished, test } from "vitest";
import { serveApi, startServer } from "../support/served-api.ts";
import { sendJson, type WireRequest, wireServer } from "../support/wire-server.ts";

const THINKING = "two and\n\ntwo";
const CITATION = { type: "char_location", cited_text: "four", document_index: 0 };
const THOUGHT = [
  { type: "thinking", thinking: THINKING, signature: "c2lnbmVk" },
  { type: "redacted_thinking", data: "c2VhbGVk" },
  { type: "text", text: "It is four", citations: [CITATION] },
  { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "four" } },
];
const HEAD = { id: "msg_wire", type: "message", role: "assistant", model: "claude-wire" };
const ENDING = { stop_reason: "stop_sequence", stop_sequence: "." };
const USAGE = {
  input_tokens: 7,
  output_tokens: 9,
  cache_read_input_tokens: 3,
  cache_creation_input_tokens: 2,
};
const thinking = { type: "enabled" as const, budget_tokens: 2000 };

/** The first half of the events, and what comes when the test goes on. */
function eventsOfThought(): [object[], object[]] {
  const block = (index: number, content_block: object, ...deltas: object[]) => [
    { type: "content_block_start", index, content_block },
    ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
  ];
  const stop = (index: number) => ({ type: "content_block_stop", index });
  const message = { ...HEAD, content: [], stop_reason: null, stop_sequence: null, usage: USAGE };
  return [
    [
      { type: "message_start", message },
      ...block(
        0,
        { type: "thinking", thinking: "", signature: "" },
        { type: "thinking_delta", thinking: THINKING.slice(0, 5) },
        { type: "thinking_delta", thinking: THINKING.slice(5) },
        { type: "signature_delta", signature: "c2lnbmVk" },
      ),
      stop(0),
      ...block(1, THOUGHT[1] as object),
      stop(1),
      ...block(2, { type: "text", text: "" }, { type: "text_delta", text: "It is " }),
    ],
    [
      { type: "content_block_delta", index: 2, delta: { type: "text_delta", text: "four" } },
      { type: "content_block_delta", index: 2, delta: { type: "citations_delta", citation: CITATION } },
      stop(2),
      ...block(
        3,
        { ...THOUGHT[3], input: {} },
        { type: "input_json_delta", partial_json: '{"query": ' },
        { type: "input_json_delta", partial_json: '"four"}' },
      ),
      stop(3),
      { type: "message_delta", delta: ENDING, usage: USAGE },
      { type: "message_stop" },
    ],
  ];
}

function sendEvents(response: ServerResponse, events: object[]): void {
  for (const event of events)
    response.write(`event: ${(event as { type: string }).type}\ndata: ${JSON.stringify(event)}\n\n`);
}

async function serveThinking() {
  const gate = Promise.withResolvers<void>();
  const answer = async (response: ServerResponse, { body }: WireRequest) => {
    if (!JSON.parse(body).stream)
      return sendJson(response, { ...HEAD, content: THOUGHT, ...ENDING, usage: USAGE });
    const [first, rest] = eventsOfThought();
    response.writeHead(200, { "content-type": "text/event-stream" });
    sendEvents(response, first);
    await gate.promise;
    sendEvents(response, rest);
    response.end();
  };
  const wire = await wireServer(answer);
  const entry = { dialect: "anthropic", baseUrl: wire.url, keyOptional: true, models: ["claude"] };
  const api = await serveApi({}, { GLUELLM_PROVIDERS: JSON.stringify({ wire: entry }) });
  onTestFinished(async () => {
    gate.resolve();
    await api.site[Symbol.asyncDispose]();
  });
  const clientOf = (baseURL: string) =>
    new Anthropic({ baseURL: baseURL.replace(/\/v1$/, ""), apiKey: api.apiKey, maxRetries: 0 });
  return { wire, api, clientOf, goOn: () => gate.resolve() };
}

test("a provider of Anthropic's dialect gets body, version and betas as they are, and the client its answer: whole, streamed, and when the API process ends in mid-stream", {
  tags: "long",
}, async () => {
  const { wire, api, clientOf, goOn } = await serveThinking();
  const anthropic = clientOf(api.baseURL);
  const messages = [
    { role: "user", content: "whole" },
    { role: "assistant", content: THOUGHT },
    { role: "user", content: "once more" },
  ] as Anthropic.MessageParam[];
  const body = { max_tokens: 4000, top_k: 3, thinking, messages };
  const headers = { "anthropic-version": "2023-06-01", "anthropic-beta": "one,two" };
  const message = await anthropic.messages.create({ ...body, model: "wire:claude" }, { headers });
  expect(message).toEqual({ ...HEAD, content: THOUGHT, ...ENDING, usage: USAGE });
  expect(JSON.parse(wire.requests[0]?.body ?? "")).toEqual({ ...body, model: "claude" });
  expect(wire.requests[0]?.headers).toMatchObject(headers);

  const streamed = { ...body, model: "wire:claude", messages: messages.slice(0, 1) };
  const options = { headers: { "idempotency-key": "the-only-one" } };
  const killed = async () => {
    for await (const event of anthropic.messages.stream(streamed, options))
      if (event.type === "content_block_delta" && event.delta.type === "text_delta")
        api.process.child.kill("SIGKILL");
  };
  await expect(killed()).rejects.toBeInstanceOf(Anthropic.AnthropicError);
  const next = await startServer(api.site);
  const again = clientOf(next.baseURL).messages.stream(streamed, options);
  again.once("streamEvent", goOn);
  const { content, usage, ...rest } = await again.finalMessage();
  expect(JSON.parse(JSON.stringify(content))).toEqual(THOUGHT);
  expect(rest).toMatchObject({ id: HEAD.id, model: HEAD.model, ...ENDING });
  expect(usage).toMatchObject(USAGE);
  expect(wire.requests).toHaveLength(2);
});
