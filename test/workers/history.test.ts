import { expect, onTestFinished, test } from "vitest";
import type { Message } from "../../src/shared/chat.ts";
import { TokenLimitError } from "../../src/shared/errors.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { estimatePromptTokens } from "../../src/shared/token-estimate.ts";
import { History, olderHalf, partsOf } from "../../src/workers/history.ts";
import { errorBody, failureOf, goodBody } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

/** A turn of about 110 tokens: a question, a call of a tool, its result, an answer. */
function turn(n: number): Message[] {
  const call = { id: `call_${n}`, type: "function" as const, function: { name: "add", arguments: "{}" } };
  return [
    { role: "user", content: `${n}`.repeat(100) },
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: call.id, content: "x".repeat(100) },
    { role: "assistant", content: "y".repeat(100) },
  ];
}
const PROMPT: Message = { role: "system", content: "Be brief." };
const OWN: Message = { role: "user", content: "And now?" };

function rolesOf(messages: readonly Message[]): string {
  return messages.map(({ role }) => role[0]).join("");
}

/** What is left of the messages within `maxTokens`. */
function fitted(messages: readonly Message[], maxTokens: number): Message[] {
  const history = new History(partsOf(messages));
  history.leaveOut(history.excess(maxTokens));
  return history.messages;
}

test("the oldest turns go, whole, until the request fits; instructions and what is asked stay", () => {
  const note: Message = { role: "system", content: "From now on in French." };
  const messages = [PROMPT, ...turn(1), note, ...turn(2), ...turn(3), OWN];
  expect(fitted(messages, 150)).toEqual([PROMPT, note, ...turn(3), OWN]);
  expect(fitted(messages, 1)).toEqual([PROMPT, note, OWN]);
  expect(fitted(messages, 10_000)).toEqual(messages);
});

test.each(["sa", "sat", "at", "ua", "uua"])(
  "a history that begins with %s loses no call's result",
  (head) => {
    const call = { id: "c", type: "function" as const, function: { name: "add", arguments: "{}" } };
    const roles = { s: "system", a: "assistant", t: "tool", u: "user" } as const;
    const first = [...head].map((letter): Message => {
      const role = roles[letter as keyof typeof roles];
      if (role === "tool") return { role, tool_call_id: "c", content: "r" };
      return role === "assistant" && head.includes("t")
        ? { role, content: null, tool_calls: [call] }
        : { role, content: "x" };
    });
    const messages = [...first, ...turn(1), OWN];
    const maxTokens = estimatePromptTokens({ messages }) - 1;
    expect(rolesOf(fitted(messages, maxTokens))).toBe(head.startsWith("s") ? "suatau" : "uatau");
  },
);

test("a refusal for the length halves the history until nothing is left of it; other faults do not", () => {
  const tooLong = new TokenLimitError({ message: "too long" });
  const messages = [PROMPT, ...turn(1), ...turn(2), ...turn(3), ...turn(4), OWN];
  const history = new History(partsOf(messages));
  expect(olderHalf(history, new Error("down"))).toBe(0);
  const lengths = [];
  for (let count = olderHalf(history, tooLong); count > 0; count = olderHalf(history, tooLong)) {
    history.leaveOut(count);
    lengths.push(history.messages.length);
  }
  expect(lengths).toEqual([10, 6, 2]);
});

test("a conversation that its model refuses as too long goes on, tool calls included", async () => {
  const seen: Message[][] = [];
  const wire = await wireServer((response, { body }) => {
    const { messages } = JSON.parse(body) as { messages: Message[] };
    seen.push(messages);
    if (messages.length <= 6) return sendJson(response, goodBody("openai", `answer ${seen.length}`));
    const error = {
      message: "maximum context length",
      type: "invalid_request_error",
      code: "context_length_exceeded",
    };
    return sendJson(response, errorBody("openai", error), 400);
  });
  await using site = await TestSite.open(
    {},
    {
      GLUELLM_PROVIDERS: JSON.stringify({
        wire: { baseUrl: `${wire.url}/v1`, keyOptional: true, models: ["*"] },
      }),
    },
  );
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const glue = siteClient(site, { mode: "local", settings, model: "wire:small" });
  onTestFinished(() => glue.close());
  const talk = glue.conversation({ system: "Be brief.", trim: true });
  for (let n = 0; n < 6; n++) await talk.complete(`question ${n}`);
  expect(await talk.messages()).toHaveLength(12);
  const last = seen.at(-1) ?? [];
  expect(last[0]).toEqual({ role: "system", content: "Be brief." });
  expect(last[1]?.role).toBe("user");
  expect(last.at(-1)).toMatchObject({ content: "question 5" });

  const before = seen.length;
  await talk.complete("by number", { trim: { maxTokens: 20 } });
  expect(seen[before]?.length).toBeLessThan(6);
  expect(seen).toHaveLength(before + 1);
  const history = [...Array(9)].flatMap(() => [
    { role: "user" as const, content: "x" },
    { role: "assistant" as const, content: "y" },
  ]);
  const own = { role: "user" as const, content: "z" };
  expect((await glue.complete([...history, own], { trim: true })).finalResponse).toContain("answer");
  expect(await failureOf(glue.complete([...history, own]))).toMatchObject({
    code: "context_length_exceeded",
  });
  expect(String(await failureOf(glue.complete("x", { trim: { maxTokens: 0 } })))).toContain("trim");
});
