import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Message } from "../../src/shared/chat.ts";
import { estimatePromptTokens } from "../../src/shared/token-estimate.ts";
import { startNode } from "../support/processes.ts";
import { errorBody, failureOf, goodBody } from "../support/provider.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const KILLED_WORKER = join(import.meta.dirname, "../support/killed-worker.ts");
const TOO_LONG = {
  message: "maximum context length",
  type: "invalid_request_error",
  code: "context_length_exceeded",
};

const isSummary = (messages: readonly Message[]) =>
  String(messages.at(-1)?.content).includes("nothing but the summary");
const tokens = (messages: readonly Message[]) => estimatePromptTokens({ messages: [...messages] });

/**
 * A provider of `maxTokens` that summarizes as "SUM n", or as `summary` says; what it was asked; clients of it.
 */
async function openSite({ maxTokens = 1e6, summary = (n: number) => `SUM ${n}` } = {}) {
  const asked: Message[][] = [];
  const wire = await wireServer((response, { body }) => {
    const { messages } = JSON.parse(body) as { messages: Message[] };
    if (tokens(messages) > maxTokens) return sendJson(response, errorBody("openai", TOO_LONG), 400);
    asked.push(messages);
    const text = isSummary(messages) ? summary(asked.filter(isSummary).length) : `answer ${asked.length}`;
    return sendJson(response, goodBody("openai", text));
  });
  const wired = { baseUrl: `${wire.url}/v1`, keyOptional: true, models: ["*"] };
  const site = await TestSite.open(
    {},
    { ...SHORT_LOCKS, GLUELLM_PROVIDERS: JSON.stringify({ wire: wired }) },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const open = (mode: "local" | "fleet" = "local") => siteClient(site, { mode, model: "wire:small" });
  return { site, wire, asked, open, summaries: () => asked.filter(isSummary) };
}

/** A conversation with `count` more turns of about 110 tokens. */
async function filled(
  glue: ReturnType<typeof siteClient>,
  count: number,
  talk = glue.conversation({ system: "Be brief." }),
) {
  for (let n = 0; n < count; n++) {
    await talk.addMessage("user", `question ${n} ${"x".repeat(200)}`);
    await talk.addMessage("assistant", `answer ${n} ${"y".repeat(200)}`);
  }
  return talk;
}

test("a summary takes the place of the oldest turns, and later calls go on from it without paying again", async () => {
  const { asked, open, summaries } = await openSite();
  const glue = open();
  const talk = await filled(glue, 14);
  await talk.addMessage("system", "From now on in French.");
  const trim = { maxTokens: 1600, summary: true };
  const { usage } = await talk
    .complete("and now?", { trim })
    .then(async () => ({ usage: await talk.usage() }));
  expect(usage.calls).toBe(2);
  expect(summaries()).toHaveLength(1);
  const [first, second] = asked as [Message[], Message[]];
  expect(String(first[0]?.content)).toContain("question 0");
  expect(second.slice(0, 3).map(({ role }) => role)).toEqual(["system", "user", "user"]);
  expect(String(second[1]?.content)).toContain("SUM 1");
  expect(second).toContainEqual({ role: "system", content: "From now on in French." });
  expect(String(second.at(-2)?.content)).toContain("French");
  expect(tokens(second)).toBeLessThan(800);

  for (let n = 0; n < 3; n++) await talk.complete(`later ${n}`, { trim });
  expect(summaries()).toHaveLength(1);
  expect(String(asked.at(-1)?.[1]?.content)).toContain("SUM 1");
  // What was summarized is in the next summary by way of the first.
  await filled(glue, 12, talk);
  await talk.complete("more", { trim });
  expect(summaries()).toHaveLength(2);
  expect(JSON.stringify(summaries()[1])).toContain("SUM 1");
  expect(JSON.stringify(asked.at(-1))).toContain("SUM 2");
  expect(JSON.stringify(asked.at(-1))).not.toContain("SUM 1");
  // A call without it has all messages.
  await talk.complete("all?");
  expect(JSON.stringify(asked.at(-1))).toContain("question 0");
  expect(await talk.messages()).toHaveLength(26 * 2 + 1 + 6 * 2);
});

test("a summary is asked for with the headers and the query of its call, but not under its idempotency key", async () => {
  const { wire, open } = await openSite();
  const talk = await filled(open(), 14);
  const headers = { "x-team": "blue", "Idempotency-Key": "of the call" };
  const trim = { maxTokens: 1600, summary: true };
  await talk.complete("and now?", { trim, headers, query: { "api-version": "1" } });
  expect(wire.requests).toMatchObject([
    { path: "/v1/chat/completions?api-version=1", headers: { "x-team": "blue" } },
    { path: "/v1/chat/completions?api-version=1", headers: { "x-team": "blue" } },
  ]);
  expect(wire.requests.map(({ headers }) => headers["idempotency-key"])).toEqual([undefined, "of the call"]);
});

test("a worker killed after it paid for a summary: the next one goes on from it", {
  tags: "long",
}, async () => {
  const { site, open, summaries } = await openSite();
  const glue = open("fleet");
  const talk = await filled(glue, 12);
  const handle = await talk.enqueue("and now?", { trim: { maxTokens: 800, summary: true } });
  const { exit, stderr } = startNode([KILLED_WORKER, "completions.wire.small", "1"], { env: site.env });
  expect(await exit, stderr()).toBe("SIGKILL");
  site.start("worker");
  expect(await handle.result()).toMatchObject({ finalResponse: "answer 2" });
  expect(await talk.usage()).toMatchObject({ calls: 2 });
  await talk.complete("more", { trim: { maxTokens: 800, summary: true } });
  expect(summaries()).toHaveLength(1);
});

test("after a refusal for the length the older half is summarized, in parts where the summary's request is too long itself", async () => {
  const { asked, open, summaries } = await openSite({ maxTokens: 900 });
  const talk = await filled(open(), 24);
  await talk.complete("and now?", { trim: { summary: { instructions: "In one word." } } });
  expect(summaries().length).toBeGreaterThan(1);
  expect(String(summaries()[0]?.at(-1)?.content)).toMatch(/^In one word\.\n/);
  const last = asked.at(-1) ?? [];
  expect(JSON.stringify(last)).toContain(`SUM ${summaries().length}`);
  expect(tokens(last)).toBeLessThan(900);
});

test("no summary is paid where it cannot help; an empty one leaves the turns out and is not asked for again", async () => {
  const { asked, open, summaries } = await openSite({ summary: () => " " });
  const glue = open();
  const talk = await filled(glue, 7);
  const failure = await failureOf(
    talk.complete("z".repeat(4000), { trim: { maxTokens: 800, summary: true } }),
  );
  expect(failure).toMatchObject({ code: "context_length_exceeded" });
  expect(String(failure)).toContain("no summary of the history can help");
  expect(asked).toHaveLength(0);
  // The conversation goes on: what cannot be sent is no part of it.
  for (const question of ["one", "two"])
    await talk.complete(question, { trim: { maxTokens: 800, summary: true } });
  expect(summaries()).toHaveLength(1);
  expect(tokens(asked.at(-1) ?? [])).toBeLessThan(800);
  // There is hardly any room for a summary: the turns are left out.
  await talk.complete("z".repeat(2900), { trim: { maxTokens: 800, summary: true } });
  expect(summaries()).toHaveLength(1);

  const history = Array.from({ length: 8 }, (_, n) => [
    { role: "user" as const, content: `q${n} ${"x".repeat(400)}` },
    { role: "assistant" as const, content: "y" },
  ]).flat();
  const list = await glue.complete([...history, { role: "user", content: "z" }], {
    trim: { maxTokens: 800, summary: true },
  });
  expect(list.finalResponse).toContain("answer");
  expect(summaries().length).toBeGreaterThan(1);
  for (const trim of [{}, { summary: false }, { summary: { instructions: " " } }])
    expect(String(await failureOf(glue.complete("x", { trim })))).toContain("trim");
});

test("a summary that is longer than asked for is cut", async () => {
  const { asked, open } = await openSite({ summary: () => "é".repeat(100_000) });
  const talk = await filled(open(), 12);
  await talk.complete("and now?", { trim: { maxTokens: 800, summary: true } });
  expect(tokens(asked.at(-1) ?? [])).toBeLessThan(800);
});
