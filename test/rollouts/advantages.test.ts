import { expect, test } from "vitest";
import { advantagesOf, isInformative, totalReward } from "../../src/rollouts/advantages.ts";

const rounded = (values: (number | null)[][]) =>
  values.map((group) => group.map((value) => (value === null ? null : Math.round(value * 1e4) / 1e4)));

test("advantages of a group are those of TRL's formula, by the group's deviation with Bessel's correction", () => {
  // std([1, 0, 0, 1]) = 0.57735, and 0.5 / (0.57735 + 1e-4) = 0.86588
  expect(rounded(advantagesOf([[1, 0, 0, 1]], "group"))).toEqual([[0.8659, -0.8659, -0.8659, 0.8659]]);
  // mean 2, std 1: 1 / 1.0001
  expect(rounded(advantagesOf([[1, 2, 3]], "group"))).toEqual([[-0.9999, 0, 0.9999]]);
});

test("by the batch the mean stays the group's, and the deviation is that of all", () => {
  const groups = [
    [1, 0, 0, 1],
    [5, 5, 5, 5],
  ];
  // std of the eight values: 2.4349
  expect(rounded(advantagesOf(groups, "batch"))).toEqual([
    [0.2053, -0.2053, -0.2053, 0.2053],
    [0, 0, 0, 0],
  ]);
  expect(advantagesOf(groups, "none")[0]).toEqual([0.5, -0.5, -0.5, 0.5]);
});

test("a sample without a reward has no advantage, and counts for neither mean nor deviation", () => {
  expect(rounded(advantagesOf([[1, null, 2, 3]], "group"))).toEqual([[-0.9999, null, 0, 0.9999]]);
  expect(advantagesOf([[null, null]], "group")).toEqual([[null, null]]);
  expect(advantagesOf([[3]], "group")).toEqual([[0]]);
});

test("the reward is the weighted sum of the scores that are there", () => {
  const specs = [
    { name: "a", weight: 1 },
    { name: "b", weight: 0.5 },
  ];
  expect(totalReward({ rewards: { a: 1, b: 2 } }, specs)).toBe(2);
  expect(totalReward({ rewards: { a: null, b: 2 } }, specs)).toBe(1);
  expect(totalReward({ rewards: { a: null, b: null } }, specs)).toBeNull();
  expect(totalReward({ rewards: {} }, specs)).toBeNull();
});

test("a group informs when two of its rewards differ by more than epsilon", () => {
  expect(isInformative([1, 1, 1], 0)).toBe(false);
  expect(isInformative([1, 1 + 1e-9], 1e-6)).toBe(false);
  expect(isInformative([1, null, 0.5], 1e-6)).toBe(true);
  expect(isInformative([1, null], 0)).toBe(false);
});
