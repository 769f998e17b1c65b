import { expect, test } from "vitest";
import { EstimateCorrection } from "../../src/limits/rate-limiter/estimate-correction.ts";

test("estimates that are too low rise to what calls really cost, input and output apart", () => {
  const correction = new EstimateCorrection();
  const estimate = { input: 100, output: 50 };
  for (let call = 0; call < 4; call++) correction.settled("m", estimate, { input: 200, output: 25 });
  expect(correction.correct("m", estimate), "a few calls prove nothing").toEqual(estimate);
  correction.settled("m", estimate, { input: 200, output: 25 });
  const { input, output } = correction.correct("m", estimate);
  expect(input).toBeCloseTo(200, 5);
  expect(output, "too high ones stay: what is left over is given back").toBe(50);
  for (let call = 0; call < 400; call++) correction.settled("m", estimate, { input: 90, output: 25 });
  expect(correction.correct("m", estimate).input).toBe(100);
});

test("what was estimated at nothing says nothing, and no correction is larger than fourfold", () => {
  const correction = new EstimateCorrection();
  for (let call = 0; call < 9; call++)
    correction.settled("m", { input: 0, output: 1 }, { input: 500, output: 900 });
  expect(correction.correct("m", { input: 10, output: 8 })).toEqual({ input: 10, output: 32 });
});
