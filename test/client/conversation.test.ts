import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Conversation, GlueLLM, type GlueLLMOptions, Role } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { failureOf } from "../support/provider.ts";
import { isEncrypted, testRedis } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { runProgram, siteClient } from "../support/site-client.ts";
import { turnsSeen } from "../support/talk.ts";

const reply = (about: string, text: string) => `${about}\n#sim ${JSON.stringify({ reply: text })}`;
const TALK_PROCESS = fileURLToPath(new URL("../support/talk-process.ts", import.meta.url));

const said = async (conversation: Conversation) =>
  (await conversation.messages()).map(({ role, content }) => `${role}: ${content}`.split("\n")[0]);

/** A fleet of two worker processes. */
let fleet: TestSite;
const redis = testRedis();
beforeAll(async () => {
  fleet = await TestSite.open(
    { faults: JSON.stringify({ script: [{ match: "bad request", fault: "400" }] }) },
    { GLUELLM_PRICES: JSON.stringify({ "simulator:test": { inputPerMillion: 1, outputPerMillion: 2 } }) },
  );
  for (const _ of [1, 2]) fleet.start("worker");
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  redis.disconnect();
});

describe("a conversation", () => {
  test("gives each call what was said before, and sums what the answers cost", async () => {
    const conversation = siteClient(fleet, { system: "You are brief." }).conversation();
    const startedAt = Date.now();
    const first = await conversation.complete(reply("My name is Ada.", "Hello Ada."));
    const second = await conversation.complete(reply("What is my name?", "Ada."));
    expect(turnsSeen(fleet, "What is my name?")).toEqual([1]);
    expect(second.tokensUsed.prompt).toBeGreaterThan(first.tokensUsed.total);
    expect(await said(conversation)).toEqual([
      "user: My name is Ada.",
      "assistant: Hello Ada.",
      "user: What is my name?",
      "assistant: Ada.",
    ]);
    const [message] = await conversation.messages();
    expect(message).toMatchObject({ role: Role.user, toolCalls: [] });
    // Redis' clock is this machine's.
    expect(Number(message?.createdAt)).toBeGreaterThanOrEqual(startedAt - 1000);
    expect(Number(message?.createdAt)).toBeLessThanOrEqual(Date.now() + 1000);
    const usage = await conversation.usage();
    expect(usage).toMatchObject({ calls: 2, unpriced: 0 });
    expect(usage.tokensUsed.total).toBe(first.tokensUsed.total + second.tokensUsed.total);
    expect(usage.costUsd).toBeCloseTo((first.costUsd ?? 0) + (second.costUsd ?? 0), 9);
  });

  test("one unpriced answer makes the cost of all unknown", async () => {
    const conversation = siteClient(fleet).conversation();
    await conversation.complete("priced");
    await conversation.complete("unpriced", { model: "simulator:other" });
    expect(await conversation.usage()).toMatchObject({ calls: 2, costUsd: null, unpriced: 1 });
  });

  test("is gone on with by its id, in another client, by an option and with another model", async () => {
    const first = siteClient(fleet).conversation({ id: `support-${fleet.namespace}` });
    await first.complete("opening");
    await siteClient(fleet).conversation({ id: first.id }).complete("elsewhere");
    await siteClient(fleet).complete("by option", { conversation: first.id, model: "simulator:other" });
    expect(turnsSeen(fleet, "elsewhere")).toEqual([1]);
    expect(turnsSeen(fleet, "by option")).toEqual([2]);
  });

  test("streams its answers", async () => {
    const conversation = siteClient(fleet).conversation();
    await conversation.complete("before the stream");
    let text = "";
    for await (const event of conversation.stream(reply("streamed", "piece by piece"))) {
      if (event.type === "text") text += event.text;
    }
    expect(text).toBe("piece by piece");
    expect(turnsSeen(fleet, "streamed")).toEqual([1]);
    expect((await conversation.messages()).at(-1)).toMatchObject({ content: text });
  });

  test("takes messages without a call", async () => {
    const conversation = siteClient(fleet).conversation();
    await conversation.addMessage(Role.system, "Answer in French.");
    await conversation.addMessage("user", "Hello");
    await conversation.addMessage("assistant", "Bonjour");
    await conversation.complete("and then?");
    expect(turnsSeen(fleet, "and then?")).toEqual([1]);
    expect((await conversation.toProviderMessages()).slice(0, 4)).toEqual([
      { role: "system", content: "Answer in French." },
      { role: "user", content: "Hello" },
      { role: "assistant", content: "Bonjour" },
      { role: "user", content: "and then?" },
    ]);
    const wrong = conversation.addMessage("tool" as "user", "42");
    expect(await failureOf(wrong)).toMatchObject({ code: "invalid_input" });
  });

  test("reset begins a new one and leaves the old one as it is", async () => {
    const conversation = siteClient(fleet).conversation();
    await conversation.complete("before the reset");
    const { id } = conversation;
    conversation.reset();
    expect(conversation.id).not.toBe(id);
    await conversation.complete("after the reset");
    expect(turnsSeen(fleet, "after the reset")).toEqual([0]);
    expect(await siteClient(fleet).conversation({ id }).messages()).toHaveLength(2);
  });

  test("a client has memory only when it is asked to", async () => {
    const plain = siteClient(fleet);
    await plain.complete("plain one");
    await plain.complete("plain two");
    expect(() => plain.resetConversation()).toThrow("has no memory");
    const glue = siteClient(fleet, { conversation: true });
    await glue.complete("remembered one");
    await (await glue.enqueue("remembered two")).result();
    expect(await glue.memory?.messages()).toHaveLength(4);
    glue.resetConversation();
    await glue.complete("remembered three");
    expect(turnsSeen(fleet, "plain")).toEqual([0, 0]);
    expect(turnsSeen(fleet, "remembered")).toEqual([0, 1, 0]);
  });

  test("GlueLLM.chat() makes a client that remembers, or goes on with the conversation that it names", async () => {
    const settings = loadSettings({ env: fleet.env, cwd: "/" });
    const chat = (options: GlueLLMOptions = {}) => {
      const client = GlueLLM.chat({ model: MODEL, mode: "fleet", settings, ...options });
      onTestFinished(() => client.close());
      return client;
    };
    const first = chat();
    await first.complete("chatted one");
    await first.complete("chatted two");
    const later = chat(first.memory && { conversation: first.memory.id });
    await later.complete("chatted three");
    expect(turnsSeen(fleet, "chatted")).toEqual([0, 1, 2]);
  });

  test("calls racing from two processes are answered in their order, and each knows all earlier ones", {
    tags: "long",
  }, async () => {
    const id = `racing-${fleet.namespace}`;
    const outputs = await Promise.all(
      ["a", "b"].map((name) => runProgram(TALK_PROCESS, [id, name, "50"], fleet.env)),
    );
    const answers = outputs.flatMap((output) => JSON.parse(output) as string[]);
    expect(new Set(answers).size).toBe(100);
    expect(turnsSeen(fleet, "racing")).toEqual(answers.map((_, n) => n));
    const all = await said(siteClient(fleet).conversation({ id }));
    expect(all).toHaveLength(200);
    for (const [i, text] of all.entries()) {
      if (i % 2 === 0) expect(all[i + 1]).toBe(text?.replace("user: racing", "assistant: answer"));
    }
  });
});

describe("an idempotency key", () => {
  test("gives one turn, in each conversation of its own", async () => {
    const glue = siteClient(fleet);
    const conversation = glue.conversation();
    const options = { idempotencyKey: `key-${fleet.namespace}` };
    const handles = await Promise.all([1, 2, 3].map(() => conversation.enqueue("only once", options)));
    expect(new Set(handles.map(({ id }) => id)).size).toBe(1);
    await handles[0]?.result();
    await conversation.enqueue("only once", options);
    expect(await conversation.messages()).toHaveLength(2);
    const elsewhere = glue.conversation().enqueue("only once", options);
    expect(await failureOf(elsewhere)).toMatchObject({ code: "idempotency_conflict" });
  });
});

describe("what cannot be", () => {
  test.each([
    ["an id that the client made long ago", { id: "conv-00000000-0000-4000-8000-000000000000" }],
    ["an id that has to exist", { id: "nobody", mustExist: true }],
  ])("%s is refused when it is unknown", async (_, options) => {
    const conversation = siteClient(fleet).conversation(options);
    for (const ask of [
      () => conversation.enqueue("hello"),
      () => conversation.messages(),
      () => conversation.usage(),
      () => conversation.addMessage("user", "hello"),
    ]) {
      expect(await failureOf(ask())).toMatchObject({ name: "InputError", code: "unknown_conversation" });
    }
  });

  test("a name that is none", () => {
    const glue = siteClient(fleet);
    for (const id of ["", "a b", "x".repeat(129), "{x}"]) {
      expect(() => glue.conversation({ id })).toThrow("is no conversation's id");
    }
  });

  test("a conversation that was used and is gone is not begun anew in silence", async () => {
    const conversation = siteClient(fleet).conversation();
    await conversation.complete("hello");
    await redis.del(redisKeys(fleet.namespace).conversation(conversation.id));
    expect(await failureOf(conversation.complete("hello"))).toMatchObject({ code: "unknown_conversation" });
  });

  test("a history of more than 20 MiB is refused with what to do; one of 10 MB goes on", async () => {
    const conversation = siteClient(fleet).conversation({ id: `large-${fleet.namespace}` });
    const large = "x".repeat(3_500_000);
    for (let n = 0; n < 3; n++) await conversation.addMessage("user", large);
    await conversation.complete("after 10 MB");
    expect(turnsSeen(fleet, "after 10 MB")).toEqual([0]);
    // What is encrypted is a third longer.
    for (let n = 0; n < (isEncrypted ? 1 : 2); n++) await conversation.addMessage("user", large);
    expect(await failureOf(conversation.enqueue(large))).toMatchObject({
      name: "InputError",
      code: "conversation_too_long",
      hint: expect.stringContaining("reset()"),
    });
  });
});
