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
