import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createGunzip } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { canaryRun } from "../support/canary-module.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const MODULE = join(import.meta.dirname, "../support/canary-module.ts");

interface SentEvent {
  exception: { values: { type: string; value: string; stacktrace?: { frames: object[] } }[] };
  tags: Record<string, unknown>;
  fingerprint: string[];
  level?: string;
  environment: string;
}

/** Takes what Sentry's own client sends. */
async function openSentry() {
  const bodies: string[] = [];
  const server = createServer(async (request, response) => {
    const isPacked = request.headers["content-encoding"] === "gzip";
    bodies.push(await text(isPacked ? request.pipe(createGunzip()) : request));
    response.setHeader("content-type", "application/json").end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const events = () =>
    bodies.flatMap((body) => {
      const lines = body.split("\n").map((line) => (line ? JSON.parse(line) : {}) as Record<string, unknown>);
      return lines.flatMap((line, i) =>
        lines[i - 1]?.type === "event" ? [line as unknown as SentEvent] : [],
      );
    });
  const dsn = `http://publickey@127.0.0.1:${(server.address() as AddressInfo).port}/7`;
  return { dsn, bodies, events };
}

test("Sentry gets what failed for good and crashes, with tags and fingerprint, and no prompt", async () => {
  const sentry = await openSentry();
  const site = await TestSite.open({}, { SENTRY_DSN: sentry.dsn, SENTRY_ENVIRONMENT: "staging" });
  onTestFinished(() => site[Symbol.asyncDispose]());
  const worker = site.start("worker", "--module", MODULE);
  const glue = siteClient(site, { tenant: "acme", workflows: [canaryRun] });
  const sim = (directive: object) => `CANARY-PROMPT\n#sim ${JSON.stringify(directive)}`;
  const cancelled = await glue.enqueue("CANARY-PROMPT", { delayMs: 60_000 });
  await cancelled.cancel();
  const ends = await Promise.allSettled([
    glue.complete(sim({ error: "500", errorTimes: 1, reply: "CANARY-ANSWER" })),
    glue.complete(`CANARY-PROMPT\n#sim {"CANARY-DIRECTIVE": 1}`),
    glue.workflows.start("canary-run", "CANARY-INPUT").then((run) => run.result()),
  ]);
  expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
  await glue.enqueue(sim({ toolCalls: [{ name: "crash" }] }), { tools: ["crash"] });
  expect(await worker.exit).toBe(1);
  await waitFor("three events", () => sentry.events().length >= 3);
  const events = sentry.events();
  const of = (kind: string) => events.filter(({ tags }) => tags.kind === kind);
  expect(events).toHaveLength(3);
  expect(of("job")).toMatchObject([
    {
      fingerprint: ["invalid_request", "simulator"],
      environment: "staging",
      tags: {
        ...{ code: "invalid_request", model: "simulator:test", provider: "simulator", tenant: "acme" },
        ...{ queue: "completions.simulator.test", job: expect.stringMatching(/^job-/), attempts: 1 },
      },
      exception: { values: [{ type: "InvalidRequestError" }] },
    },
  ]);
  expect(of("run")).toMatchObject([
    { tags: { workflow: "canary-run", run: expect.stringMatching(/^run-/) } },
  ]);
  expect(of("crash")).toMatchObject([
    { level: "fatal", tags: { code: "RangeError" }, exception: { values: [{ type: "RangeError" }] } },
  ]);
  expect(sentry.bodies.join()).not.toContain("CANARY");
});
