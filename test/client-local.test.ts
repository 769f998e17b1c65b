import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type Simulator, startSimulator } from "../src/simulator/simulator.ts";
import { redisOptions } from "./support/redis-folders.ts";
import { runProgram } from "./support/site-client.ts";

const ROOT = join(import.meta.dirname, "..");

/** A machine on which nothing runs but a provider. */
async function bareMachine() {
  const simulator: Simulator = await startSimulator({ latencyMs: 5, jitterMs: 0 });
  onTestFinished(() => simulator.close());
  const { dataDir } = redisOptions();
  const env = {
    GLUELLM_DATA_DIR: dataDir,
    GLUELLM_DEFAULT_MODEL: "simulator:demo",
    SIMULATOR_BASE_URL: `${simulator.url}/v1`,
  };
  return { simulator, env, dataDir };
}

test("the basic example brings its own Redis and worker, prints its answers and ends by itself", async () => {
  const { simulator, env } = await bareMachine();
  const output = await runProgram(join(ROOT, "examples/basic-usage.ts"), [], env);
  expect(output.replace(/\[simulated\].*/g, "[simulated] …").split("\n")).toEqual([
    "answer: [simulated] …",
    "model: simulator:demo, finish reason: stop, attempts: 1",
    expect.stringMatching(/^tokens: \d+ \+ \d+ = \d+$/),
    "same job: true",
    "later: [simulated] …",
    "status: succeeded",
    "cancelled: true",
    "JobCancelledError: the job was cancelled",
    "",
  ]);
  expect(simulator.journal.entries()).toHaveLength(2);
});

test("the conversation example goes on with its conversation and prints its roles", async () => {
  const { simulator, env } = await bareMachine();
  const output = await runProgram(join(ROOT, "examples/conversation.ts"), [], env);
  expect(output.replace(/\[simulated\].*/g, "[simulated] …").split("\n")).toEqual([
    "first: [simulated] …",
    "then: [simulated] …",
    "then: [simulated] …",
    "roles: user assistant user assistant user assistant user user assistant",
    "usage: 4 calls, some tokens, cost unknown",
    "after reset: 0 messages",
    "",
  ]);
  expect(simulator.journal.entries().map(({ turn }) => turn)).toEqual([0, 1, 2, 3]);
});

test("the example of tools runs them, tells the model of a failure and leaves calls to the caller", async () => {
  const { env } = await bareMachine();
  const output = await runProgram(join(ROOT, "examples/tools.ts"), [], env);
  expect(output.split("\n")).toEqual([
    "answer: 12 apples; we have no plums.",
    'count_stock {"article":"apples"} → {"article":"apples","count":12}',
    'count_stock {"article":"plums"} → tool_failed: we do not sell plums',
    "left to me: tool_calls, run by the worker: 0",
    "clerk made 2 calls",
    "",
  ]);
});

test("the streaming example prints its answers as they come and ends by itself", async () => {
  const { simulator, env } = await bareMachine();
  const output = await runProgram(join(ROOT, "examples/streaming.ts"), [], env);
  expect(output.split("\n")).toEqual([
    expect.stringMatching(/^\[simulated\] Answer/),
    expect.stringMatching(/^\d+ tokens$/),
    "told in whole: true",
    "",
  ]);
  expect(simulator.journal.entries()).toHaveLength(2);
});

test("a program that uses the shared client ends by itself", async () => {
  const { simulator, env } = await bareMachine();
  const output = await runProgram(join(ROOT, "test/support/client-process.ts"), [], env);
  expect(JSON.parse(output)).toMatchObject({ model: "simulator:demo", finishReason: "stop" });
  expect(simulator.journal.entries()).toHaveLength(1);
});
