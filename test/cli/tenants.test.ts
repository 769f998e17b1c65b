import { expect, test } from "vitest";
import { TestSite } from "../support/site.ts";

test("gluellm tenants: set, what none takes away, list, and remove", { tags: "long" }, async () => {
  await using site = await TestSite.open({});
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await site.run("tenants", ...args);
    return [code, stdout || stderr];
  };
  expect(await run("set", "red", "--rpm", "60", "--max-usd-per-day", "5")).toEqual([
    0,
    "red: rpm 60, max-usd-per-day 5\n",
  ]);
  expect(await run("set", "red", "--rpm", "none", "--weight", "2")).toEqual([
    0,
    "red: weight 2, max-usd-per-day 5\n",
  ]);
  expect(await run("set", "red", "--weight", "0")).toEqual([
    2,
    expect.stringContaining("weight of tenant red is wrong"),
  ]);
  expect(await run("set", "red", "--history-days", "90", "--history-content-days", "7.5")).toEqual([
    0,
    "red: weight 2, max-usd-per-day 5, history-days 90, history-content-days 7.5\n",
  ]);
  expect(await run("set", "red", "--history-days", "7")).toEqual([
    2,
    expect.stringContaining("7.5 is more than its historyDays, 7"),
  ]);
  expect(await run("list", "--json")).toEqual([0, expect.stringContaining('"maxCostUsdPerDay"')]);
  expect(await run("remove", "red")).toEqual([0, expect.stringContaining("has the usual part")]);
  expect(await run("remove", "red")).toEqual([2, expect.stringContaining("has no settings")]);
});
