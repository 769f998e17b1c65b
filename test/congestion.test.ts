import { expect, test } from "vitest";
import { Congestion } from "../src/workers/congestion.ts";

test("a round of refusals halves the calls at a time once, rounds of answers bring them back one by one", () => {
  const congestion = new Congestion(16);
  expect(congestion.limited(0, 10)).toBe(8);
  expect(congestion.limited(5, 11), "a call of the same round").toBe(8);
  expect(congestion.limited(20, 30)).toBe(4);
  for (let answers = 1; answers < 4; answers++) expect(congestion.answered()).toBe(4);
  expect(congestion.answered()).toBe(5);
  for (let round = 0; round < 300; round++) congestion.answered();
  expect(congestion.answered(), "never above the configured concurrency").toBe(16);
  for (let pause = 1; pause < 10; pause++) congestion.limited(pause * 100, pause * 100 + 50);
  expect(congestion.answered(), "never below one").toBeGreaterThanOrEqual(1);
});
