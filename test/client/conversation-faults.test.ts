import { describe, expect, test } from "vitest";
import type { Conversation } from "../../src/index.ts";
import type { Faults } from "../../src/simulator/faults.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { failureOf } from "../support/provider.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { script, turnsSeen } from "../support/talk.ts";
import { waitFor } from "../support/wait-for.ts";
import { queueOf, workerFleet } from "../support/worker-fleet.ts";

const FAULTS = {
  script: [
    { match: "bad request", fault: "400" },
    { match: "always down", fault: "500" },
  ],
} satisfies Faults;

let fleet: TestSite;
const redis = workerFleet(FAULTS, (site) => {
  fleet = site;
});

const roles = async (conversation: Conversation) => (await conversation.messages()).map(({ role }) => role);

/** Changes what is stored of a turn. */
async function changeTurn(site: TestSite, { id }: Conversation, n: number, changes: object): Promise<void> {
  const key = redisKeys(site.namespace).conversation(id);
  const head = JSON.parse((await redis.hget(key, `turn:${n}`)) ?? "") as object;
  await redis.hset(key, `turn:${n}`, JSON.stringify({ ...head, ...changes }));
}

describe("a turn without an answer", () => {
  test("that failed keeps its message, and the next call goes on", async () => {
    const conversation = siteClient(fleet).conversation();
    const [failed, next] = await Promise.all([
      conversation.enqueue("always down", { maxAttempts: 2 }),
      conversation.enqueue("after the failure"),
    ]);
    expect(await failureOf(failed.result())).toMatchObject({ code: "server_error" });
    await next.result();
    expect(await roles(conversation)).toEqual(["user", "user", "assistant"]);
    expect((await conversation.toProviderMessages()).map(({ role }) => role)).toEqual([
      "user",
      "user",
      "assistant",
    ]);
  });

  test("that the provider refused is left out of later requests, which it would spoil too", async () => {
    const conversation = siteClient(fleet).conversation();
    expect(await failureOf(conversation.complete("bad request"))).toMatchObject({ code: "invalid_request" });
    await conversation.complete("after the refusal");
    expect(await roles(conversation)).toEqual(["user", "user", "assistant"]);
    expect(await conversation.toProviderMessages()).toMatchObject([
      { content: "after the refusal" },
      { role: "assistant" },
    ]);
  });

  test("that was cancelled while it waited, or in its call, lets the next one go on", async () => {
    const conversation = siteClient(fleet).conversation();
    const active = await conversation.enqueue(`active\n#sim {"latencyMs": 60000}`);
    const waiting = await conversation.enqueue("waiting");
    const next = await conversation.enqueue(script("after both", { reply: "at last" }));
    await waitFor("the reason", async () =>
      (await waiting.status()).waitsFor.includes("the conversation's earlier call"),
    );
    await waitFor("the call", () => turnsSeen(fleet, "active").length === 1);
    expect(await waiting.cancel()).toBe(true);
    expect(await active.cancel()).toBe(true);
    expect((await next.result()).finalResponse).toBe("at last");
    expect(turnsSeen(fleet, "waiting")).toEqual([]);
    expect(await roles(conversation)).toEqual(["user", "user", "user", "assistant"]);
  });

  test("whose job is lost, or is long past its deadline, holds nobody up", async () => {
    await using site = await TestSite.open();
    const conversation = siteClient(site).conversation();
    const lost = await conversation.enqueue("lost");
    const late = await conversation.enqueue("late", { delayMs: 3_600_000 });
    const next = await conversation.enqueue("after both");
    const queue = queueOf(redis, site);
    await (await queue.getJob(lost.id))?.remove();
    site.start("worker");
    await waitFor("the wait", async () =>
      (await next.status()).waitsFor.includes("the conversation's earlier call"),
    );
    await changeTurn(site, conversation, 0, { createdAt: Date.now() - 20_000 });
    await changeTurn(site, conversation, 1, { deadlineAt: Date.now() - 61_000 });
    await next.result();
    expect((await late.status()).state).toBe("delayed");
    expect(await roles(conversation)).toEqual(["user", "user", "user", "assistant"]);
  });
});

describe("a worker killed in the middle of a turn", () => {
  test("the turn is called again elsewhere, and the next one knows its answer", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open({}, SHORT_LOCKS);
    const conversation = siteClient(site).conversation();
    const slow = await conversation.enqueue(`slow\n#sim {"latencyMs": 1500, "reply": "slowly"}`);
    const next = await conversation.enqueue(script("next", { reply: "known" }));
    const victim = site.start("worker");
    await waitFor("its call", () => turnsSeen(site, "slow").length === 1);
    victim.child.kill("SIGKILL");
    site.start("worker");
    expect((await next.result()).finalResponse).toBe("known");
    expect((await slow.result()).finalResponse).toBe("slowly");
    expect([turnsSeen(site, "slow"), turnsSeen(site, "next")]).toEqual([[0, 0], [1]]);
    expect(await roles(conversation)).toEqual(["user", "assistant", "user", "assistant"]);
  });

  test("an answer that was recorded before is not added twice", async () => {
    const conversation = siteClient(fleet).conversation();
    const { jobId } = await conversation.complete("recorded");
    const before = await conversation.usage();
    const queue = queueOf(redis, fleet);
    const job = await waitFor("its end", async () => {
      const found = await queue.getJob(jobId);
      return found?.finishedOn ? found : undefined;
    });
    await job.remove();
    await queue.add(job.name, job.data, { jobId });
    await waitFor("its second end", async () => (await queue.getJob(jobId))?.finishedOn);
    expect(await roles(conversation)).toEqual(["user", "assistant"]);
    expect(await conversation.usage()).toEqual(before);
    expect(turnsSeen(fleet, "recorded")).toEqual([0]);
  });
});

test("a conversation that is gone, or was begun anew, when its call starts fails that call alone", async () => {
  await using site = await TestSite.open();
  const glue = siteClient(site);
  const ids = ["gone", "begun-anew"];
  const handles = await Promise.all(ids.map((id) => glue.conversation({ id }).enqueue("forgotten")));
  for (const id of ids) await redis.del(redisKeys(site.namespace).conversation(id));
  const fresh = glue.conversation({ id: "begun-anew" });
  const next = await fresh.enqueue("anew");
  site.start("worker");
  for (const handle of handles) {
    expect(await failureOf(handle.result())).toMatchObject({ code: "conversation_lost" });
  }
  await next.result();
  expect(await roles(fresh)).toEqual(["user", "assistant"]);
  expect(turnsSeen(site, "forgotten")).toEqual([]);
});

test("a conversation is kept for 30 days after its last message, and beyond the end of a delayed call", async () => {
  const conversation = siteClient(fleet).conversation();
  const ttlDays = async () =>
    (await redis.ttl(redisKeys(fleet.namespace).conversation(conversation.id))) / 86_400;
  await conversation.addMessage("user", "hello");
  expect(await ttlDays()).toBeCloseTo(30, 1);
  await conversation.enqueue("in 40 days", { delayMs: 40 * 86_400_000 });
  await conversation.addMessage("user", "hello again");
  expect(await ttlDays()).toBeCloseTo(70, 1);
});
