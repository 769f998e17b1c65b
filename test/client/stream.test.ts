import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  type CompletionEvent,
  InvalidRequestError,
  JobCancelledError,
  JobLostError,
} from "../../src/index.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import type { Faults } from "../../src/simulator/faults.ts";
import { openJobText } from "../../src/store/job-data.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { storeOf } from "../../src/store/store.ts";
import { failureOf } from "../support/provider.ts";
import { testRing } from "../support/redis.ts";
import type { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { ask, collect, outcome, REPLY, whole } from "../support/streamed.ts";
import { waitFor } from "../support/wait-for.ts";
import { workerFleet } from "../support/worker-fleet.ts";

const QUEUE = completionQueueName(modelRef("simulator", "test"));
const FAULTS = {
  script: [
    { match: "breaks off once", fault: "stream_error", times: 1 },
    { match: "bad request", fault: "400" },
  ],
} satisfies Faults;

/** A fleet of one worker process, for the tests that need no other. */
let fleet: TestSite;
const redis = workerFleet(FAULTS, (site) => {
  fleet = site;
});

describe("a streamed job", () => {
  test("reaches two readers while it is produced, a late one from the start, and one after its end", async () => {
    const handle = await siteClient(fleet).enqueue(ask("two readers"), { stream: true });
    const firstAt: number[] = [];
    const reading = [0, 1].map(async () => {
      const events: CompletionEvent[] = [];
      for await (const event of siteClient(fleet).handle(handle.id).stream()) {
        if (events.push(event) === 1) firstAt.push(Date.now());
      }
      return events;
    });
    await waitFor("the first pieces", () => firstAt.length === 2);
    const late = collect(siteClient(fleet).handle(handle.id).stream());
    const all = await Promise.all([...reading, late]);
    const { finishedAt } = await handle.result();
    for (const at of firstAt) expect(at).toBeLessThan(finishedAt.getTime());
    all.push(await collect(handle.stream()));
    for (const events of all) {
      expect(outcome(events)).toMatchObject(whole);
      expect(outcome(events).pieces).toBeGreaterThan(1);
      expect(events.filter(({ type }) => type !== "text" && type !== "result")).toEqual([]);
    }
  });

  test("reaches a reader that is slower than the provider", async () => {
    const events: CompletionEvent[] = [];
    for await (const event of siteClient(fleet).stream(ask("slow reader", 300))) {
      events.push(event);
      await delay(100);
    }
    expect(outcome(events)).toMatchObject(whole);
  });

  test("that breaks off is told again from its beginning", async () => {
    const events = await collect(siteClient(fleet).stream(ask("breaks off once", 400)));
    expect(events.filter(({ type }) => type === "restart")).toEqual([{ type: "restart", turn: 1 }]);
    expect(events[0]?.type).toBe("text");
    expect(outcome(events)).toMatchObject(whole);
  });

  test("its tool calls come as pieces too", async () => {
    const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const tools = [{ type: "function", function: { name: "get_weather", parameters } }];
    const extra = { tools, tool_choice: "required" };
    const events = await collect(siteClient(fleet).stream("weather", { extra }));
    const pieces = events.filter((event) => event.type === "toolCall");
    expect(pieces[0]).toMatchObject({ index: 0, name: "get_weather", id: expect.stringMatching(/./) });
    expect(JSON.parse(pieces.map((piece) => piece.arguments).join(""))).toHaveProperty("city");
    expect(events.at(-1)).toMatchObject({ type: "result", result: { finishReason: "tool_calls" } });
  });

  test("that was not asked to be streamed comes in one piece", async () => {
    const handle = await siteClient(fleet).enqueue(ask("unstreamed", 200));
    const events = await collect(handle.stream());
    expect(events.map(({ type }) => type)).toEqual(["text", "result"]);
    expect(outcome(events)).toMatchObject(whole);
  });

  test("that fails throws the job's error", async () => {
    const error = await failureOf(collect(siteClient(fleet).stream("bad request")));
    expect(error).toBeInstanceOf(InvalidRequestError);
    const nowhere = siteClient(fleet).handle("job-00000000-0000-4000-8000-000000000000");
    expect(await failureOf(collect(nowhere.stream()))).toBeInstanceOf(JobLostError);
  });
});

describe("leaving a stream", () => {
  test("of a handle leaves the job alone and listens no more", async () => {
    const glue = siteClient(fleet);
    const handle = await glue.enqueue(ask("left"), { stream: true });
    const channel = redisKeys(fleet.namespace).topic(`stream:${handle.id}`);
    const listeners = async () => (await redis.pubsub("NUMSUB", channel))[1];
    for await (const event of handle.stream()) {
      expect(event.type).toBe("text");
      expect(await listeners()).toBe(1);
      break;
    }
    await waitFor("the end of listening", async () => (await listeners()) === 0);
    expect((await handle.result()).finalResponse).toBe(REPLY);
  });

  test("of a call cancels its job, unless others may share it", async () => {
    const glue = siteClient(fleet);
    const keys = redisKeys(fleet.namespace);
    const left = async (what: string, idempotencyKey?: string) => {
      for await (const _event of glue.stream(ask(what, 600), { idempotencyKey })) break;
      const jobs = await redis.keys(`${keys.prefix}:${QUEUE}:job-????????-????-????-????-????????????`);
      const store = storeOf(redis, fleet.namespace, testRing());
      const asked = await Promise.all(
        jobs.map(async (key) => {
          const id = key.slice(key.lastIndexOf("job-"));
          return JSON.stringify(await openJobText(store, id, await redis.hget(key, "data")));
        }),
      );
      const key = jobs[asked.findIndex((data) => data.includes(what))] ?? "";
      return glue.handle(key.slice(key.lastIndexOf("job-")));
    };
    expect(await failureOf((await left("left at once")).result())).toBeInstanceOf(JobCancelledError);
    const shared = await left("left, shared", "left-shared");
    expect((await shared.result()).finalResponse).toBe(REPLY);
  });

  test("by its signal or its time throws that reason", async () => {
    const handle = await siteClient(fleet).enqueue(ask("out of time", 3000), { stream: true });
    expect(await failureOf(collect(handle.stream({ timeoutMs: 100 })))).toMatchObject({
      code: "result_timeout",
    });
    const signal = AbortSignal.timeout(100);
    expect(await failureOf(collect(handle.stream({ signal })))).toMatchObject({ name: "TimeoutError" });
    await handle.cancel();
    expect(await failureOf(collect(handle.stream()))).toBeInstanceOf(JobCancelledError);
  });
});

test.each(["native", "tool", "prompt"] as const)(
  "a structured answer grows while it streams, mode %s",
  async (outputMode) => {
    const value = { title: "A lighthouse", tags: ["sea", "night"], pages: 12 };
    const reply = outputMode === "prompt" ? { reply: `Here:\n${JSON.stringify(value)}` } : { json: value };
    const schema = z.object({ title: z.string(), tags: z.array(z.string()), pages: z.coerce.number() });
    const prompt = `grow\n#sim ${JSON.stringify({ ...reply, latencyMs: 300 })}`;
    const partials: { title?: string; tags?: string[] }[] = [];
    let whole: unknown;
    for await (const event of siteClient(fleet).stream(prompt, { schema, outputMode, schemaName: "page" })) {
      if (event.type === "partialOutput") partials.push(event.output);
      else if (event.type === "result") whole = event.result.output;
    }
    expect(whole).toEqual(value);
    expect(partials.at(-1)).toEqual(value);
    expect(value.title.startsWith(partials[0]?.title ?? "")).toBe(true);
  },
);

test("gluellm complete --stream prints the answer as it comes, says when it begins anew, and with --json prints events", {
  tags: "long",
}, async () => {
  const command = ["complete", "-m", "simulator:test", "--workers", "0", "--stream"];
  const restarted = fleet.run(...command, ask("breaks off once, printed", 400));
  const asJson = fleet.run(...command, "--json", ask("as JSON", 200));
  const printed = fleet.start(...command, ask("printed", 2000));
  await waitFor("the first words", () => printed.stdout().includes("Ünï"));
  expect(printed.stdout()).not.toContain(REPLY);
  expect(await printed.exit).toBe(0);
  expect(printed.stdout()).toBe(`${REPLY}\n`);
  const { stdout, stderr } = await restarted;
  expect(stderr).toContain("[restarted]");
  expect(stdout.endsWith(`\n${REPLY}\n`)).toBe(true);
  const lines = (await asJson).stdout.trimEnd().split("\n");
  expect(outcome(lines.map((line) => JSON.parse(line) as CompletionEvent))).toMatchObject(whole);
});
