import { expect, test } from "vitest";
import { isAllowed, productionPackages } from "../../tools/licences.ts";

test("what users install is under licences that are allowed", () => {
  const packages = productionPackages();
  expect(packages.map(({ name }) => name)).toEqual(expect.arrayContaining(["bullmq", "busboy", "pg"]));
  expect(packages.map(({ name }) => name)).not.toContain("vitest");
  expect(packages.filter(({ licence }) => !isAllowed(licence))).toEqual([]);
});

test.each([
  ["MIT", true],
  ["(MIT OR GPL-3.0-only)", true],
  ["MIT AND Apache-2.0", true],
  ["MIT AND GPL-3.0-only", false],
  ["SEE LICENSE IN LICENSE.md", false],
  ["unknown", false],
])("%s: allowed: %s", (licence, isOne) => {
  expect(isAllowed(licence)).toBe(isOne);
});
