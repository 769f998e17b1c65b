import { expect, test } from "vitest";
import { bareMachine } from "../support/bare-machine.ts";
import { exampleSite } from "../support/examples.ts";

const { dataDir, run } = exampleSite();

test("the example of a quote pays for each row once", { tags: "long" }, async () => {
  const { simulator, env } = await bareMachine(dataDir);
  const prices = '{"simulator:*":{"inputPerMillion":1,"outputPerMillion":4}}';
  expect(await run("batch-quote", { ...env, GLUELLM_PRICES: prices })).toEqual([
    "10 of 40 rows were asked",
    "40 succeeded, compared with the quote: true",
  ]);
  expect(simulator.journal.entries()).toHaveLength(40);
});
