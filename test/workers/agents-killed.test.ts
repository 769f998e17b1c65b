import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { desk } from "../support/guarded-agents.ts";
import { sampleOf } from "../support/sample.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const MODULE = join(import.meta.dirname, "../support/guarded-agents.ts");
const call = (name: string, args: object = {}) => ({ name, arguments: args });
/** A handoff; a tool and one that a person has to allow; an agent in a job of its own; the answer. */
const TURNS = [
  { toolCalls: [call("handoff_to_support")] },
  { toolCalls: [call("look_up", { order: "A" }), call("refund", { usd: 20 })] },
  { toolCalls: [call("writer", { input: 'a letter\n#sim {"reply":"Dear Ada"}' })] },
  { reply: "done" },
];
/** The guardrail's question and word, four answers, three results and the word on the answer; and the handoff's. */
const ENTRIES = 11;
/** Of the job four, of the guardrail one, of the agent behind the tool one. */
const CALLS = 6;
const BOUNDARIES = sampleOf(
  "boundaries of agents, approvals and guardrails",
  Array.from({ length: ENTRIES }, (_, n) => n + 1),
  2,
);

test("a worker killed at any boundary of handoff, approval, child job and guardrail: nothing is asked or paid twice", {
  tags: "long",
}, async () => {
  const site = await TestSite.open({}, SHORT_LOCKS);
  onTestFinished(() => site[Symbol.asyncDispose]());
  const glue = siteClient(site);
  const env = { TRACE_FILE: site.path("trace") };
  const handles = await Promise.all(
    BOUNDARIES.map((n) =>
      glue.enqueue(`killed after ${n}\n#sim ${JSON.stringify({ turns: TURNS })}`, {
        agent: desk,
        model: `simulator:killed-${n}`,
      }),
    ),
  );
  const asked = new Set<string>();
  const over = new AbortController();
  const approving = (async () => {
    while (!over.signal.aborted) {
      for (const { jobId, callId, askedAt } of await glue.approvals()) {
        asked.add(`${jobId} ${askedAt}`);
        await glue.handle(jobId).approve(callId);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  const killed = BOUNDARIES.values();
  const killNext = async () => {
    for (const n of killed) {
      const queue = `completions.simulator.killed-${n}`;
      const worker = site.startWith(
        { ...env, KILLED_AFTER: String(n) },
        ...["worker", "--queue", queue, "--module", MODULE],
      );
      expect(await worker.exit, worker.stderr()).toBe("SIGKILL");
    }
  };
  // More at a time would lose their locks to each other.
  await Promise.all([killNext(), killNext()]);
  site.startWith(env, "worker", "--module", MODULE);
  const results = await Promise.all(handles.map((handle) => handle.result({ timeoutMs: 100_000 })));
  over.abort();
  await approving;
  for (const { finalResponse, agent, toolExecutionHistory, guardrails } of results) {
    expect({ finalResponse, agent }).toEqual({ finalResponse: "done", agent: "support" });
    expect(toolExecutionHistory.map(({ result }) => result)).toEqual([
      "The conversation was handed over to support.",
      "order A: 20 USD",
      "refunded 20",
      "Dear Ada",
    ]);
    expect(guardrails.map(({ name }) => name)).toEqual(["judged", "polite"]);
  }
  expect(asked.size).toBe(BOUNDARIES.length);
  const hashes = site.simulator.journal.entries().map(({ contentHash, model }) => `${model} ${contentHash}`);
  expect(hashes).toHaveLength(BOUNDARIES.length * CALLS);
  expect(new Set(hashes).size).toBe(hashes.length);
  const trace = readFileSync(env.TRACE_FILE, "utf8").trimEnd().split("\n");
  expect(trace).toHaveLength(
    new Set(trace).size + trace.filter((line) => line.startsWith("judged")).length - BOUNDARIES.length,
  );
  expect(trace.filter((line) => line.startsWith("refund"))).toHaveLength(BOUNDARIES.length);
});

test("a suspended job outlives its worker, and is answered while there is none", {
  tags: "long",
}, async () => {
  const site = await TestSite.open({}, SHORT_LOCKS);
  onTestFinished(() => site[Symbol.asyncDispose]());
  const glue = siteClient(site);
  const handle = await glue.enqueue(`nobody there\n#sim ${JSON.stringify({ turns: TURNS })}`, {
    agent: desk,
  });
  const worker = site.start("worker", "--module", MODULE);
  await waitFor("the job to sleep", async () => (await handle.status()).state === "suspended");
  worker.child.kill("SIGKILL");
  await worker.exit;
  const [approval] = await handle.approvals();
  await handle.approve(approval?.callId ?? "");
  site.start("worker", "--module", MODULE);
  expect((await handle.result()).finalResponse).toBe("done");
  expect(site.simulator.journal.entries()).toHaveLength(CALLS);
});
