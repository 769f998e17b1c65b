import { join } from "node:path";
import { expect, test } from "vitest";
import { bareMachine } from "../support/bare-machine.ts";
import { runProgram } from "../support/site-client.ts";

test("a program that uses the shared client ends by itself", async () => {
  const { simulator, env } = await bareMachine();
  const output = await runProgram(join(import.meta.dirname, "../support/client-process.ts"), [], env);
  expect(JSON.parse(output)).toMatchObject({ model: "simulator:demo", finishReason: "stop" });
  expect(simulator.journal.entries()).toHaveLength(1);
});
