import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Conversation, InvalidRequestError } from "../src/index.ts";
import { redisKeys } from "../src/shared/redis-keys.ts";
import { failureOf } from "./support/provider.ts";
import { testRedis } from "./support/redis.ts";
import { MODEL, TestSite } from "./support/site.ts";
import { siteClient } from "./support/site-client.ts";
import { waitFor } from "./support/wait-for.ts";

const MODULE = join(import.meta.dirname, "support/tools.ts");

/** The simulator plays these turns for the prompt. */
function script(about: string, ...turns: object[]): string {
  return `${about}\n#sim ${JSON.stringify({ turns })}`;
}

const texts = async (conversation: Conversation) =>
  (await conversation.messages()).map(({ role, content }) => `${role}: ${content}`.split("\n")[0]);

/** A fleet of two worker processes. */
let fleet: TestSite;
const redis = testRedis();
beforeAll(async () => {
  fleet = await TestSite.open();
  for (const _ of [1, 2]) fleet.start("worker", "--module", MODULE);
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  redis.disconnect();
});

/** Assistant messages that the provider saw in the calls of a prompt. */
function turnsSeen(site: TestSite, about: string): number[] {
  const calls = site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(about));
  return calls.map(({ turn }) => turn);
}

describe("a conversation", () => {
  test("gives each call what was said before, with the answers", async () => {
    const conversation = siteClient(fleet, { system: "You are brief." }).conversation();
    await conversation.complete(script("My name is Ada.", { reply: "Hello Ada." }));
    await conversation.complete(script("What is my name?", { reply: "Ada." }));
    expect(turnsSeen(fleet, "What is my name?")).toEqual([1]);
    expect(await texts(conversation)).toEqual([
      "user: My name is Ada.",
      "assistant: Hello Ada.",
      "user: What is my name?",
      "assistant: Ada.",
    ]);
    const [first] = await conversation.messages();
    expect(first).toMatchObject({ role: "user", toolCalls: [], createdAt: expect.any(Date) });
    expect(Math.abs(Date.now() - (first?.createdAt.getTime() ?? 0))).toBeLessThan(60_000);
  });

  test("is gone on with in another client by its id", async () => {
    const first = siteClient(fleet).conversation({ id: `support-${fleet.namespace}` });
    await first.complete(script("first", { reply: "one" }));
    const again = siteClient(fleet).conversation({ id: first.id });
    await again.complete(script("second, elsewhere", { reply: "two" }));
    expect(turnsSeen(fleet, "second, elsewhere")).toEqual([1]);
    await siteClient(fleet).complete(script("third, by option", { reply: "three" }), {
      conversation: first.id,
    });
    expect(turnsSeen(fleet, "third, by option")).toEqual([2]);
  });

  test("100 calls racing from two clients are answered in their order, and each knows all earlier ones", async () => {
    const [one, two] = [siteClient(fleet), siteClient(fleet)];
    const id = `racing-${fleet.namespace}`;
    const handles = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        (n % 2 ? one : two).conversation({ id }).enqueue(script(`racing ${n}`, { reply: `answer ${n}` })),
      ),
    );
    const results = await Promise.all(handles.map((handle) => handle.result()));
    expect(results.map(({ finalResponse }) => finalResponse)).toEqual(results.map((_, n) => `answer ${n}`));
    expect(turnsSeen(fleet, "racing")).toEqual(results.map((_, n) => n));
    const said = await texts(one.conversation({ id }));
    expect(new Set(said.filter((text) => text?.startsWith("user"))).size).toBe(100);
    for (const [i, text] of said.entries()) {
      if (text?.startsWith("user"))
        expect(said[i + 1]).toBe(text.replace("user: racing", "assistant: answer"));
    }
  }, 60_000);
});
