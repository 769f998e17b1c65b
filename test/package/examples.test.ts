/** @module-tag long */

import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { bareMachine } from "../support/bare-machine.ts";
import { AGENT_EXAMPLES, exampleSite, examplesOf } from "../support/examples.ts";
import { OtlpReceiver } from "../support/otlp-receiver.ts";
import { serveApi } from "../support/served-api.ts";
import { LOOPBACK } from "../support/webhooks.ts";
import { deadUrl } from "../support/wire-server.ts";

const { dataDir, ran, run } = exampleSite();

test("the basic example brings its own Redis and worker, prints its answers and ends by itself", async () => {
  const { simulator, env } = await bareMachine();
  const output = await run("basic-usage", env);
  expect(output.map((line) => line.replace(/\[simulated\].*/, "[simulated] …"))).toEqual([
    "answer: [simulated] …",
    "model: simulator:demo, finish reason: stop, attempts: 1",
    expect.stringMatching(/^tokens: \d+ \+ \d+ = \d+$/),
    "same job: true",
    "later: [simulated] …",
    "status: succeeded",
    "cancelled: true",
    "JobCancelledError: the job was cancelled",
  ]);
  expect(simulator.journal.entries()).toHaveLength(2);
});

test("the conversation example goes on with its conversation and prints its roles", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  const output = await run("conversation", env);
  expect(output.map((line) => line.replace(/\[simulated\].*/, "[simulated] …"))).toEqual([
    "first: [simulated] …",
    "then: [simulated] …",
    "then: [simulated] …",
    "roles: user assistant user assistant user assistant user user assistant",
    "usage: 4 calls, some tokens, cost unknown",
    "after reset: 0 messages",
  ]);
  expect(simulator.journal.entries().map(({ turn }) => turn)).toEqual([0, 1, 2, 3]);
});

test("the example of metrics counts its calls, jobs and tokens", async () => {
  const { env } = await bareMachine(dataDir);
  const output = await run("metrics", { ...env, GLUELLM_ENABLE_METRICS: "true" });
  expect(output).toEqual(["calls of providers: 3", "jobs of agents: 3", "tokens were counted: true"]);
});

test("the streaming example prints its answers as they come and ends by itself", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  const output = await run("streaming", env);
  expect(output).toEqual([
    expect.stringMatching(/^\[simulated\] Answer/),
    expect.stringMatching(/^\d+ tokens$/),
    "told in whole: true",
  ]);
  expect(simulator.journal.entries()).toHaveLength(2);
});

test("the example of structured answers has all of the schema's types", async () => {
  const { env } = await bareMachine(dataDir);
  expect(await run("structured-output", env)).toEqual([
    "a text: string, minutes: true",
    expect.stringMatching(/^ingredients: true, diet: (vegan|vegetarian|other)$/),
    "a list: true, model: simulator:demo",
    "by JSON Schema: calories",
    "by a tool call: string",
    "refused: at /name: must end with ?!",
  ]);
});

test("the example of errors shows their classes, fields and hints, a cost limit and a fallback", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  const output = await run("error-handling", {
    ...env,
    GLUELLM_PRICES: '{"simulator:*":{"inputPerMillion":1,"outputPerMillion":4}}',
    GLUELLM_PROVIDERS: JSON.stringify({ local: { baseUrl: `${await deadUrl()}/v1`, keyOptional: true } }),
  });
  expect(output).toEqual([
    "InputError empty_prompt (input, error, retryable: false): the prompt is empty",
    "  hint: give a text, parts or messages with some content",
    expect.stringMatching(/^InputError unknown_provider .* unknown provider "opneai"/),
    expect.stringMatching(/^ {2}hint: did you mean openai\? known providers: openai, /),
    expect.stringMatching(/^InputError invalid_input .* wrong at temperature: /),
    "answered by simulator:demo",
    expect.stringMatching(/^GlueError result_timeout .* has not ended within 10 ms$/),
    expect.stringMatching(/^ {2}hint: it goes on/),
    "JobCancelledError cancelled (cancelled, warning, retryable: false): the job was cancelled",
    expect.stringMatching(/^CostLimitError cost_limit \(account, critical, retryable: false\): /),
    expect.stringMatching(/^ {2}hint: give the job a higher maxCostUsd/),
    "  spent: $0",
    "gave up local:llama: connection",
    "answered by simulator:demo",
  ]);
  expect(simulator.journal.entries()).toHaveLength(3);
});

test("the example of a deadline buys its rows in a provider batch", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  simulator.setBatches({ speed: 1000, durationMs: 60_000 });
  const output = await run("batch-deadline", {
    ...env,
    GLUELLM_LANE_POLL_MS: "50",
    GLUELLM_PRICES: '{"simulator:*":{"inputPerMillion":1,"outputPerMillion":4}}',
  });
  expect(output).toEqual([
    "4 succeeded, in provider batches: 4, saved: true",
    ...[1, 2, 3, 4].map((n) => `line-${n}: batch`),
  ]);
});

test("the example of dead letters has failed jobs done by another model", async () => {
  const { env } = await bareMachine(dataDir);
  const output = await run("dead-letters", {
    ...env,
    GLUELLM_PRICES: '{"simulator:*":{"inputPerMillion":1,"outputPerMillion":4}}',
    GLUELLM_PROVIDERS: JSON.stringify({ local: { baseUrl: `${await deadUrl()}/v1`, keyOptional: true } }),
  });
  expect(output).toEqual([
    "3 × connection of local:llama",
    "would be replayed: 3, price known: true",
    ...Array(3).fill(expect.stringMatching(/^simulator:demo: (stop|length)$/)),
    "left: 0",
  ]);
});

test("the example of errors shows what is missing where nothing is configured", async () => {
  const { env } = await bareMachine(dataDir);
  const output = await run("error-handling", env);
  expect(output.filter((line) => /unpriced_model|unknown_provider/.test(line))).toHaveLength(3);
});

test("the example of settings keeps to its limits, has a price, a cache, and other clients' work", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  simulator.setLatency({ latencyMs: 150 });
  expect(await run("configuration", env)).toEqual([
    "12 answers, priced",
    "from the cache: true, cost: $0",
    "done by the worker of the other client: stop",
  ]);
  const calls = simulator.journal.entries();
  expect(calls).toHaveLength(13);
  const inFlight = calls.map(({ at }) => calls.filter((c) => c.at <= at && (c.finishedAt ?? at) > at).length);
  expect(Math.max(...inFlight)).toBeLessThanOrEqual(3);
});

test("the example of batches brings all results, in order, by handles and by a file", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  const words = ["sea", "stone", "cloud", "lamp"];
  expect(await run("batch", env)).toEqual([
    ...words.map((word) => expect.stringMatching(new RegExp(`^${word}: (stop|length)$`))),
    ...words.map((word) => expect.stringMatching(new RegExp(`^${word}: status 200, (stop|length)$`))),
  ]);
  expect(simulator.journal.entries()).toHaveLength(8);
});

test("the schedules example ticks, is triggered and paused, and leaves nothing", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  const output = await run("schedules", env);
  expect(output.map((line) => line.replace(/\[simulated\].*/, "[simulated] …"))).toEqual([
    "the next five mornings in Berlin: 09:00:00, 09:00:00, 09:00:00, 09:00:00, 09:00:00",
    "by hand: [simulated] …",
    "paused after 2000 ms between two ticks",
    "the last: [simulated] …",
    "morning-digest: workflow digest, active",
    "pulse: completion simulator:demo, paused",
  ]);
  expect(simulator.journal.entries()).toHaveLength(3);
});

test("the example of batch forms runs lines of all vendors, in one file", async () => {
  const { env } = await bareMachine(dataDir);
  expect(await run("batch-forms", env)).toEqual([
    "6 succeeded, 0 failed, cost unknown",
    "chat: chat.completion",
    "azure: chat.completion",
    "vectors: list",
    "anthropic: chat.completion",
    "gemini: chat.completion",
    "plain: chat.completion",
  ]);
});

test("the example of a batch of the API uploads, waits and prints the answers", async () => {
  const { baseURL, apiKey, site } = await serveApi();
  await using _ = site;
  const output = await run("api-batch", { OPENAI_BASE_URL: baseURL, OPENAI_API_KEY: apiKey });
  expect(output).toEqual([
    "completed: 3 of 3",
    ...["sea", "stone", "cloud"].map((word) => `${word}: status 200, chat.completion`),
  ]);
});

test("the example of the REST API waits for a job and a run, and sees what they used", async () => {
  const { baseURL, apiKey, site } = await serveApi();
  await using _ = site;
  const output = await run("api-rest", { OPENAI_BASE_URL: baseURL, OPENAI_API_KEY: apiKey });
  expect(output).toEqual([
    expect.stringMatching(/^succeeded \[simulated\]/),
    "succeeded 1 step",
    expect.stringMatching(/^true /),
  ]);
});

test("the example of webhooks is told of its batch's end, signed for OpenAI's client", async () => {
  const { baseURL, apiKey, site } = await serveApi({}, LOOPBACK);
  await using _ = site;
  const output = await run("webhooks", { OPENAI_BASE_URL: baseURL, OPENAI_API_KEY: apiKey });
  expect(output).toEqual(["told of the batch's end: true 1"]);
});

test("the example of traces sends them to MLflow, in an experiment of its own", async () => {
  await using mlflow = await OtlpReceiver.open();
  mlflow.answers["/api/2.0/mlflow/experiments/create"] = { status: 200, body: { experiment_id: "42" } };
  const { env } = await bareMachine(dataDir);
  const output = await run("opentelemetry-tracing", {
    ...env,
    MLFLOW_TRACKING_URI: mlflow.url,
    MLFLOW_EXPERIMENT_NAME: "answers",
    MLFLOW_TRACKING_TOKEN: "token-of-mlflow",
    GLUELLM_TRACING_CONTENT: "true",
  });
  expect(output).toEqual([
    ...["simple: true", "tools: 2", "structured: string, number", "multi-turn: 4 messages"],
    ...["error: InvalidRequestError", "own call: simulator:demo"],
  ]);
  expect(mlflow.others[1]).toMatchObject({ method: "POST", body: { name: "answers" } });
  expect(mlflow.others).toHaveLength(2);
  for (const headers of mlflow.headers) {
    expect(headers).toMatchObject({
      "x-mlflow-experiment-id": "42",
      authorization: "Bearer token-of-mlflow",
    });
  }
  expect(mlflow.named("gluellm.job")).toHaveLength(7);
  expect(mlflow.named("execute_tool weather").map(({ attributes }) => attributes["weather.city"])).toContain(
    "Paris",
  );
  const own = mlflow.one("chat gpt-4o-mini");
  expect(own.attributes).toMatchObject({ "llm.provider": "openai", "app.feature": "greeting" });
  expect(
    mlflow.named("gluellm.enqueue").filter(({ parentSpanId }) => parentSpanId === own.spanId),
  ).toHaveLength(1);
  expect(mlflow.spans.every(({ service }) => service === "tracing-example")).toBe(true);
  // Texts, where they are asked for.
  const inputs = mlflow.named("chat demo").map(({ attributes }) => String(attributes["mlflow.spanInputs"]));
  expect(inputs.join()).toContain("My name is Ada.");
});

test("the example of logs finds its order on the lines of its operation and its job", async () => {
  const { env } = await bareMachine(dataDir);
  expect(await run("logging", { ...env, GLUELLM_LOG_DIR: join(dataDir, "logs") })).toEqual([
    "the price was found for order 4711",
    "of the job: true",
    "the prompt is in the file: false",
    "a file of its own: true",
  ]);
});

const ELSEWHERE = ["api", "batch-quote", "production-service", "rollouts", ...AGENT_EXAMPLES];

test.skipIf(inject("isGate"))("every example that has no test elsewhere was run", () => {
  expect([...ran].sort()).toEqual(
    examplesOf((name) => !ELSEWHERE.includes(name) && !name.startsWith("workflow-")),
  );
});
