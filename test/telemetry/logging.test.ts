import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import {
  getLogger,
  InputError,
  type LoggingOptions,
  logFunctionCall,
  logOperation,
  logTiming,
  setupLogging,
  withLogContext,
} from "../../src/index.ts";
import { bindLogger } from "../../src/shared/logger.ts";
import { hideInLogs, hideSecrets } from "../../src/shared/redaction.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

function open(options: LoggingOptions = {}) {
  const dir = temporaryFolder();
  const logging = setupLogging({ level: "silent", dir, ...options });
  onTestFinished(() => logging[Symbol.dispose]());
  const text = (name = "gluellm.log") => {
    logging.flush();
    return readFileSync(join(dir, name), "utf8");
  };
  const lines = (name?: string) =>
    text(name)
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { dir, logging, text, lines };
}

test("the file has debug lines as JSON, a component has one of its own, and levels are kept", () => {
  const { dir, lines } = open({ perComponent: true });
  getLogger().debug("of all");
  getLogger("orders").info({ orderId: 7 }, "of a component");
  getLogger("orders").trace("too little");
  expect(lines().map(({ msg }) => msg)).toEqual(["of all", "of a component"]);
  expect(lines("gluellm-orders.log")).toMatchObject([{ component: "orders", orderId: 7, level: 30 }]);
  expect(readdirSync(dir).toSorted()).toEqual(["gluellm-orders.log", "gluellm.log"]);
});

test("lines have the fields of the work at hand, each once, whoever writes them", async () => {
  const { text, lines } = open();
  const logger = bindLogger(getLogger(), { jobId: "job-1" });
  await withLogContext({ jobId: "job-1", tenant: "t", batchId: undefined }, async () => {
    logger.info("bound");
    await withLogContext({ runId: "run-1" }, async () => {
      await new Promise(setImmediate);
      getLogger().info("by itself");
    });
  });
  getLogger().info("outside");
  const [bound, byItself, outside] = lines();
  expect(bound).toMatchObject({ jobId: "job-1", tenant: "t" });
  expect(byItself).toMatchObject({ jobId: "job-1", tenant: "t", runId: "run-1" });
  expect(outside).not.toHaveProperty("tenant");
  for (const line of text().split("\n")) expect(line.split('"jobId"').length).toBeLessThanOrEqual(2);
});

test("functions, timings and operations are logged with their time and their faults, and stay as they were", async () => {
  const { text, lines } = open();
  const add = logFunctionCall(function add(this: unknown, a: number, b: number) {
    return a + b;
  });
  expect(add(1, 2)).toBe(3);
  const owner = {
    factor: 3,
    times: logFunctionCall(
      function (this: { factor: number }, n: number) {
        return this.factor * n;
      },
      { name: "times" },
    ),
  };
  expect(owner.times(2)).toBe(6);
  await expect(
    logOperation("import", { orderId: 9 }, async () => {
      getLogger().info("inside");
      return logTiming("slow part", async () => {
        throw new RangeError("canary-of-an-error");
      });
    }),
  ).rejects.toThrow("canary-of-an-error");
  expect(() =>
    logTiming("sync", () => {
      throw new InputError("our own words");
    }),
  ).toThrow(InputError);
  expect(lines().map(({ msg }) => msg)).toEqual([
    ...["function begins", "function ended", "function begins", "function ended"],
    ...["operation begins", "inside", "timing failed", "operation failed", "timing failed"],
  ]);
  expect(lines()[1]).toMatchObject({ function: "add", durationMs: expect.any(Number) });
  expect(lines()[5]).toMatchObject({ operation: "import", orderId: 9 });
  expect(lines()[7]).toMatchObject({ level: 50, fault: "RangeError", operation: "import" });
  expect(lines()[8]).toMatchObject({ fault: expect.stringContaining("our own words") });
  expect(text()).not.toContain("canary");
});

test("keys, prompts and answers are in no line", () => {
  const { text } = open();
  hideInLogs("canary-key-of-mine");
  const key = `sk-${"canary".repeat(4)}`;
  getLogger().info(
    { apiKey: "canary", nested: { password: "canary", deep: [{ Authorization: "canary" }] } },
    "keys",
  );
  getLogger().info({
    messages: ["canary"],
    prompt: "canary",
    finalResponse: "canary",
    tool: { arguments: "canary" },
  });
  getLogger().info(`a key ${key}, mine canary-key-of-mine, redis://user:canary@host:1, Bearer canarycanary1`);
  getLogger().info({ message_list: ["canary"] });
  getLogger()
    .child({ token: "canary", api_key: "canary", answer: "canary", headers: { a: "canary" } })
    .info("bound");
  getLogger().error({ err: Object.assign(new Error("fault"), { request: "canary" }) }, "failed");
  expect(text()).not.toContain("canary");
  expect(text()).toContain("redis://user:[redacted]@host:1");
  expect(text()).toContain('"fault"');
  expect(hideSecrets("a word of three-letters and a task-list")).toBe(
    "a word of three-letters and a task-list",
  );
});

test("wrong options are named", () => {
  expect(() => setupLogging({ leval: "info" } as LoggingOptions)).toThrow(/leval/);
  expect(() => setupLogging({ fileName: "../up.log" })).toThrow(/fileName/);
});
