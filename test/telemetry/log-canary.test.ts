import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { canaryRun } from "../support/canary-module.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";

/** A key as no pattern knows it. */
const KEY = "CANARYKEY-blue-horse-battery";
const MODULE = join(import.meta.dirname, "../support/canary-module.ts");

test("no key, prompt, answer or argument is in any file of the logs, whatever goes wrong", async () => {
  const site = await TestSite.open(
    {},
    {
      SIMULATOR_API_KEY: KEY,
      GLUELLM_LOG_LEVEL: "trace",
      GLUELLM_LOG_DIR: "logs",
      GLUELLM_LOG_FILE_LEVEL: "trace",
      GLUELLM_LOG_FILE_PER_COMPONENT: "true",
    },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const worker = site.start("worker", "--module", MODULE);
  const glue = siteClient(site, { tenant: "acme", workflows: [canaryRun] });
  const sim = (directive: object) => `CANARY-PROMPT\n#sim ${JSON.stringify(directive)}`;
  const calls = [{ name: "canary", arguments: { text: "CANARY-ARGUMENT" } }, { name: "CANARY-NAME" }];
  const ends = await Promise.allSettled([
    glue.complete(sim({ reply: "CANARY-ANSWER" }), { requestId: "req-1", system: "CANARY-SYSTEM" }),
    glue.complete(sim({ turns: [{ toolCalls: calls }, { reply: "CANARY-ANSWER" }] }), { tools: ["canary"] }),
    glue.complete(sim({ error: "500", errorTimes: 1, reply: "CANARY-ANSWER" })),
    glue.complete(`CANARY-PROMPT\n#sim {"CANARY-DIRECTIVE": 1}`),
    glue.structuredComplete(sim({ reply: "CANARY-ANSWER" }), {
      schema: z.object({ n: z.number() }),
      maxRepairs: 0,
    }),
    glue.workflows.start("canary-run", "CANARY-INPUT").then((run) => run.result()),
  ]);
  expect(ends.map(({ status }) => status)).toEqual([
    ...["fulfilled", "fulfilled", "fulfilled", "rejected", "rejected", "rejected"],
  ]);
  const dir = site.path("logs");
  worker.child.kill("SIGTERM");
  await worker.exit;
  const files = readdirSync(dir).toSorted();
  expect(files).toEqual(expect.arrayContaining(["gluellm-tools.log", "gluellm-worker.log", "gluellm.log"]));
  const texts = files.map((file) => readFileSync(join(dir, file), "utf8"));
  for (const text of [...texts, worker.stderr(), worker.stdout()]) {
    expect(text).not.toContain("CANARY");
    expect(text).not.toContain(KEY);
  }
  const lines = readFileSync(join(dir, "gluellm.log"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const messages = new Set(lines.map(({ msg }) => msg));
  for (const message of [
    ...["worker is running", "job begins", "provider answered", "job finished", "job failed"],
    ...[
      "tool call failed",
      "a tool's own line",
      "attempt failed; will retry",
      "run failed",
      "operation ended",
    ],
  ])
    expect(messages, message).toContain(message);
  // What the job is, on its own lines and on those of its tool.
  expect(lines.find(({ msg, requestId }) => msg === "job finished" && requestId === "req-1")).toMatchObject({
    ...{ tenant: "acme", component: "worker", queue: "completions.simulator.test", attempt: 1 },
    jobId: expect.stringMatching(/^job-/),
  });
  expect(lines.find(({ msg }) => msg === "a tool's own line")).toMatchObject({
    ...{ component: "tools", tenant: "acme", arguments: "[redacted]", jobId: expect.stringMatching(/^job-/) },
  });
  expect(lines.find(({ msg }) => msg === "operation ended")).toMatchObject({
    ...{ workflow: "canary-run", operation: "look", runId: expect.any(String) },
  });
});
