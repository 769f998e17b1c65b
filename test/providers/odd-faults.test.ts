import { afterAll, describe, expect, test } from "vitest";
import { chunk, type Fields, sse } from "../support/odd-answers.ts";
import { json, openOddWire } from "../support/odd-wire.ts";
import { failureOf } from "../support/provider.ts";

const wire = openOddWire();
const { ask, streamed } = wire;
afterAll(wire.close);

/** What a fault becomes, in one line. */
async function kindOf(work: Promise<unknown>): Promise<string> {
  const { name, code } = (await failureOf(work)) as { name: string; code: string };
  return `${name} ${code}`;
}

const QUOTA = "AccountError insufficient_quota";
const KEY = "AuthenticationError authentication";
const LIMITED = "RateLimitError rate_limit";
const OVERLOADED = "OverloadedError overloaded";
const TOO_LONG = "TokenLimitError context_length_exceeded";
const MODERATED = "InvalidRequestError content_refused";
const INVALID = "InvalidRequestError invalid_request";
const UNUSABLE = "APIConnectionError invalid_response";
const BROKEN = "APIConnectionError server_error";

const refused = (code: string, message = "no") => ({ error: { code, message } });
const baseResp = (status: number) => ({
  choices: null,
  base_resp: { status_code: status, status_msg: "no" },
});
const LITELLM = "litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - ";

const STATUSES: [string, number, unknown, string][] = [
  ["GLM, no balance", 429, refused("1113"), QUOTA],
  ["GLM, too many at a time", 429, refused("1302"), LIMITED],
  ["GLM, too long", 400, refused("1261"), TOO_LONG],
  ["GLM, sensitive", 400, refused("1301"), MODERATED],
  ["Kimi, no balance", 429, { error: { type: "exceeded_current_quota_error", message: "suspended" } }, QUOTA],
  ["Kimi, busy", 429, { error: { type: "engine_overloaded_error", message: "later" } }, OVERLOADED],
  ["Kimi, sensitive", 400, { error: { type: "content_filter", message: "high risk" } }, MODERATED],
  ["Qwen, no balance", 400, refused("Arrearage"), QUOTA],
  ["Qwen, sensitive", 400, refused("data_inspection_failed"), MODERATED],
  ["Qwen, flat", 429, { code: "Throttling.RateQuota", message: "no", request_id: "x" }, LIMITED],
  ["Azure, sensitive", 400, { error: { code: "content_filter", param: "prompt", message: "no" } }, MODERATED],
  ["Bedrock, throttled", 400, { __type: "ThrottlingException", message: "Rate exceeded" }, LIMITED],
  ["Bedrock, too long", 400, { message: "Input is too long for requested model." }, TOO_LONG],
  ["llama.cpp, too long", 400, { error: { type: "exceed_context_size_error", message: "no" } }, TOO_LONG],
  ["vLLM, flat", 400, { object: "error", message: "This model's maximum context length is 9" }, TOO_LONG],
  ["LiteLLM", 400, refused("400", `${LITELLM}This model's maximum context length is 9`), TOO_LONG],
  ["LiteLLM, budget", 400, { error: { type: "budget_exceeded", message: "no", code: "400" } }, QUOTA],
  ["LM Studio", 400, { error: "Model unloaded." }, BROKEN],
  ["Groq, a call that is none", 400, refused("tool_use_failed"), UNUSABLE],
  [
    "Cerebras, flat",
    429,
    { message: "no", type: "too_many_requests_error", code: "queue_exceeded" },
    OVERLOADED,
  ],
];

const BODIES: [string, unknown, string][] = [
  ["MiniMax, a limit", baseResp(1002), LIMITED],
  ["MiniMax, no balance", baseResp(1008), QUOTA],
  ["MiniMax, the key", baseResp(1004), KEY],
  ["MiniMax, sensitive", baseResp(1027), MODERATED],
  ["MiniMax, parameters", baseResp(2013), INVALID],
  ["MiniMax, itself", baseResp(1000), BROKEN],
  ["vLLM, flat", { object: "error", message: "no", code: 500 }, BROKEN],
  ["Cloudflare", { success: false, errors: [{ code: 2003, message: "no" }], result: null }, BROKEN],
  ["GLM", refused("1302"), LIMITED],
  ["Kimi", { error: { type: "content_filter", message: "no" } }, MODERATED],
  ["Bedrock", { error: { code: "ThrottlingException", message: "no" } }, LIMITED],
  ["Groq", { choices: [], x_groq: { error: "over capacity" } }, BROKEN],
];

describe("vendors' words for faults", () => {
  test.each(STATUSES)("with a status: %s", async (_vendor, status, body, kind) => {
    expect(await kindOf(ask("openai", { ...json(body), status }))).toBe(kind);
  });

  test.each(BODIES)("with status 200, whole and in a stream: %s", async (_vendor, body, kind) => {
    expect(await kindOf(ask("openai", json(body)))).toBe(kind);
    const events = [chunk({ content: "h" }), body];
    const stream = { body: sse("openai", events), type: "text/event-stream" };
    expect(await kindOf(ask("openai", stream, () => {}))).toBe(kind);
  });

  test("in llama.cpp's own field of a stream", async () => {
    const body = `${sse("openai", [chunk({ content: "h" })]).split("data: [DONE]")[0]}error: {"code":503,"message":"no"}\n\n`;
    expect(await kindOf(ask("openai", { body, type: "text/event-stream" }, () => {}))).toBe(BROKEN);
  });

  test("what looks like one and is none", async () => {
    const fine: Fields = {
      base_resp: { status_code: 0, status_msg: "" },
      success: true,
      errors: [],
      error: {},
    };
    const reply = await ask("openai", json({ choices: [{ message: { content: "hi" } }], ...fine }));
    expect(reply.body.choices[0]?.message.content).toBe("hi");
  });
});

test("a stream that tells the whole message once more at its end is told once", async () => {
  const pieces = [chunk({ reasoning_content: "hm" }), chunk({ content: "he" }), chunk({ content: "y" })];
  const message = { role: "assistant", content: "hey", reasoning_content: "hm" };
  const whole = { object: "chat.completion", choices: [{ index: 0, message, finish_reason: "stop" }] };
  const reply = await streamed("openai", [...pieces, whole]);
  expect(reply.body.choices[0]?.message).toMatchObject({ content: "hey", reasoning: "hm" });
});

test("events without data are passed over", async () => {
  const end = sse("openai", [chunk({ content: "hi" }), chunk({}, "stop")]);
  const body = `data:\n\ndata: ""\n\ndata: {"type":"ping"}\n\n${end}`;
  const reply = await ask("openai", { body, type: "text/event-stream" }, () => {});
  expect(reply.body.choices[0]?.message.content).toBe("hi");
});
