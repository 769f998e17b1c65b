import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OtlpReceiver, type ReceivedSpan } from "../support/otlp-receiver.ts";
import { type ServedApi, startServer } from "../support/served-api.ts";
import { MODEL, SHORT_LOCKS, TestSite } from "../support/site.ts";
import { submitBatch } from "../support/submit-batch.ts";
import { waitFor } from "../support/wait-for.ts";

const MODULE = join(import.meta.dirname, "../support/traced-module.ts");

let receiver: OtlpReceiver;
let site: TestSite;
let api: Omit<ServedApi, "site">;
beforeAll(async () => {
  receiver = await OtlpReceiver.open();
  const env = {
    ...SHORT_LOCKS,
    GLUELLM_DEFAULT_MODEL: MODEL,
    GLUELLM_CIRCUIT_BREAKER_MIN_CALLS: "1",
    GLUELLM_LIMITS: JSON.stringify({ "simulator:slow": { rpm: 30 } }),
    ENABLE_TRACING: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: "x-team=blue%20one",
  };
  site = await TestSite.open({}, { ...env, MARKS: "." });
  api = await startServer(site, "--module", MODULE);
});
afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
  await receiver?.[Symbol.asyncDispose]();
});

const startWorker = () => site.start("worker", "--module", MODULE);

let traces = 0;
/** A caller's trace of its own. */
function newTrace() {
  traces += 1;
  const traceId = `4bf92f3577b34da6a3ce929d0e0e${String(traces).padStart(4, "0")}`;
  return { traceId, traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
}

async function post(path: string, body: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${api.baseURL.replace(/\/v1$/, "")}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${api.apiKey}`, "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as { id: string };
  if (!response.ok) throw new Error(JSON.stringify(answer));
  return answer;
}

const enqueue = (message: string, more: object = {}, headers = {}) =>
  post("/api/jobs", { kind: "completion", message, ...more }, headers);
const sim = (directive: object) => `canary-of-a-prompt\n#sim ${JSON.stringify(directive)}`;

/** The spans of a trace, once one of this name is among them. */
async function traceWith(name: string, isOf: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan[]> {
  const end = await waitFor(`${name}: ${receiver.tree()}`, () => receiver.named(name).find(isOf));
  return receiver.spans.filter(({ traceId }) => traceId === end.traceId);
}

const jobTrace = (jobId: string) =>
  traceWith("gluellm.job", ({ attributes }) => attributes["gluellm.job.id"] === jobId);
const namesOf = (spans: readonly ReceivedSpan[]) => spans.map(({ name }) => name).toSorted();

function one(spans: readonly ReceivedSpan[], name: string): ReceivedSpan {
  const found = spans.filter((span) => span.name === name);
  expect(found, `${name} among ${namesOf(spans)}`).toHaveLength(1);
  return found[0] as ReceivedSpan;
}

/** Every span but the first stands under another one that the collector has. */
function expectWhole(spans: readonly ReceivedSpan[], roots: number) {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  expect(ids.size).toBe(spans.length);
  expect(spans.filter(({ parentSpanId }) => !ids.has(parentSpanId))).toHaveLength(roots);
}

// It leaves a worker to those that come after it.
test("a worker killed in the middle leaves one whole trace, with the calls that it had made once", async () => {
  const { exit } = startWorker();
  const turns = [{ toolCalls: [{ name: "killer" }] }, { reply: "alive again" }];
  const { traceId, traceparent } = newTrace();
  const headers = { traceparent, tracestate: "vendor=1" };
  const { id } = await enqueue(sim({ turns }), { tools: ["killer"] }, headers);
  expect(await exit).toBe("SIGKILL");
  startWorker();
  const spans = await jobTrace(id);
  expect(spans[0]?.traceId).toBe(traceId);
  // A busy machine may have the next worker wait for its part of the budget.
  expect(namesOf(spans.filter(({ name }) => name !== "wait budget"))).toEqual([
    ...["POST /api/jobs", "chat test", "chat test", "execute_tool killer", "gluellm.enqueue", "gluellm.job"],
    "wait queue",
  ]);
  expectWhole(spans, 1);
  const job = one(spans, "gluellm.job");
  expect(one(spans, "POST /api/jobs").parentSpanId).toBe("00f067aa0ba902b7");
  expect(one(spans, "gluellm.enqueue").parentSpanId).toBe(one(spans, "POST /api/jobs").spanId);
  expect(job.parentSpanId).toBe(one(spans, "gluellm.enqueue").spanId);
  for (const name of ["execute_tool killer", "wait queue"])
    expect(one(spans, name).parentSpanId).toBe(job.spanId);
  expect([one(spans, "POST /api/jobs").kind, job.kind]).toEqual([2, 5]);
});

test("calls and tools have the attributes of both vocabularies, and no texts", async () => {
  const turns = [
    { toolCalls: [{ name: "add", arguments: { a: 1, b: 2 } }, { name: "fails" }] },
    { reply: "canary-of-an-answer", tokens: 7 },
  ];
  const { id } = await enqueue(sim({ turns }), { tools: ["add", "fails"], temperature: 0.5, maxTokens: 50 });
  const spans = await jobTrace(id);
  const [first, last] = spans
    .filter(({ name }) => name === "chat test")
    .toSorted((a, b) => a.startMs - b.startMs);
  expect(first).toMatchObject({
    kind: 3,
    attributes: {
      ...{
        "llm.provider": "simulator",
        "llm.model": "test",
        "llm.messages_count": 1,
        "llm.tools_available": 2,
      },
      ...{ "llm.response.finish_reason": "tool_calls", "llm.response.has_tool_calls": true },
      ...{
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "simulator",
        "gen_ai.request.model": "test",
      },
      ...{ "gen_ai.request.temperature": 0.5, "gen_ai.request.max_tokens": 50, "gen_ai.output.type": "text" },
      ...{ "gen_ai.response.finish_reasons": ["tool_calls"], "server.address": "127.0.0.1" },
    },
  });
  const { attributes } = last ?? {};
  expect(attributes?.["llm.tokens.completion"]).toBe(7);
  expect(attributes?.["gen_ai.usage.output_tokens"]).toBe(7);
  expect(attributes?.["llm.tokens.total"]).toBe(Number(attributes?.["llm.tokens.prompt"]) + 7);
  expect(one(spans, "execute_tool add").attributes).toMatchObject({
    ...{ "tool.name": "add", "tool.arg_count": 2, "tool.success": true, "gen_ai.tool.name": "add" },
  });
  expect(one(spans, "execute_tool fails")).toMatchObject({
    status: { code: 2 },
    attributes: { "tool.success": false, "tool.error": "tool_failed" },
  });
  expect(JSON.stringify(receiver.spans)).not.toContain("canary");
  expect(receiver.headers.every((headers) => headers["x-team"] === "blue one")).toBe(true);
});

test("what a job waits for is a span: its conversation, an equal call, its budget, the breaker", async () => {
  const conversation = "conv-traced";
  await enqueue(sim({ reply: "a", latencyMs: 300 }), { conversation });
  const second = await enqueue(sim({ reply: "b" }), { conversation });
  const equal = { temperature: 0, model: "simulator:equal" };
  const lead = await enqueue(sim({ reply: "c", latencyMs: 500 }), equal);
  const follower = await enqueue(sim({ reply: "c", latencyMs: 500 }), equal);
  // 30 a minute are one every two seconds.
  await enqueue(sim({ reply: "d" }), { model: "simulator:slow" });
  const late = await enqueue(sim({ reply: "e" }), { model: "simulator:slow" });
  const failing = await enqueue(sim({ error: "500", errorTimes: 1, reply: "f" }), {
    model: "simulator:broken",
  });
  expect(namesOf(await jobTrace(second.id))).toContain("wait conversation");
  const equals = [...(await jobTrace(lead.id)), ...(await jobTrace(follower.id))];
  one(equals, "chat equal");
  one(equals, "wait cache");
  expect(namesOf(await jobTrace(late.id))).toContain("wait budget");
  const spans = await jobTrace(failing.id);
  const [failed, answered, ...more] = spans
    .filter(({ name }) => name === "chat broken")
    .toSorted((a, b) => a.startMs - b.startMs);
  expect(failed).toMatchObject({ status: { code: 2 }, attributes: { "error.type": expect.any(String) } });
  expect(answered?.status.code).toBe(0);
  expect(more).toEqual([]);
  expect(namesOf(spans).some((name) => name === "wait breaker" || name === "wait retry")).toBe(true);
  for (const wait of receiver.named(/^wait /)) expect(wait.endMs).toBeGreaterThan(wait.startMs);
});

test("a run of a workflow is one trace over a killed worker: steps, activities, child runs", {
  tags: "long",
}, async () => {
  const { traceId, traceparent } = newTrace();
  const { id } = await post("/api/workflows/traced/runs", { input: "topic" }, { traceparent });
  // Its worker kills itself in the step.
  await waitFor("the kill", () => receiver.named("chat test").some((span) => span.traceId === traceId));
  startWorker();
  const spans = await traceWith(
    "invoke_workflow traced",
    ({ attributes }) => attributes["gluellm.run.id"] === id,
  );
  expect(spans[0]?.traceId).toBe(traceId);
  expectWhole(spans, 1);
  const run = one(spans, "invoke_workflow traced");
  expect(run.attributes["gluellm.status"]).toBe("succeeded");
  const jobs = spans.filter(({ name }) => name === "gluellm.job");
  expect(jobs.map(({ attributes }) => attributes["gluellm.step"]).toSorted()).toEqual(["ask", "first"]);
  expect(jobs.find(({ attributes }) => attributes["gluellm.step"] === "first")?.parentSpanId).toBe(
    run.spanId,
  );
  for (const name of ["step local", "activity measure"])
    expect(one(spans, name).parentSpanId).toBe(run.spanId);
  const child = one(spans, "invoke_workflow traced-child");
  expect(jobs.find(({ attributes }) => attributes["gluellm.step"] === "ask")?.parentSpanId).toBe(
    child.spanId,
  );
  const { id: failing } = await post("/api/workflows/broken/runs", { input: "x" });
  const broken = await traceWith(
    "invoke_workflow broken",
    ({ attributes }) => attributes["gluellm.run.id"] === failing,
  );
  expect(one(broken, "invoke_workflow broken").status.code).toBe(2);
  expect(JSON.stringify(receiver.spans)).not.toContain("canary");
});

test("each row of a batch is a trace of its own that names the batch", async () => {
  const openai = new OpenAI({ baseURL: api.baseURL, apiKey: api.apiKey });
  const { id } = await submitBatch(openai, ["question 0", "question 1"]);
  const [batch] = await traceWith("gluellm.batch", ({ attributes }) => attributes["gluellm.batch.id"] === id);
  const rows = await waitFor("the rows", () => {
    const found = receiver
      .named("gluellm.job")
      .filter(({ attributes }) => attributes["gluellm.batch.id"] === id);
    return found.length === 2 ? found : undefined;
  });
  expect(new Set([batch?.traceId, ...rows.map(({ traceId }) => traceId)]).size).toBe(3);
  for (const { links, parentSpanId } of rows) {
    expect(parentSpanId).toBe("");
    expect(links).toMatchObject([{ traceId: batch?.traceId, spanId: batch?.spanId }]);
  }
});
