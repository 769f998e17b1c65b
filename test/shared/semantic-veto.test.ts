import { expect, test } from "vitest";
import { VETOES, vetoOf } from "../../src/shared/semantic-veto.ts";
import { NEAR_MISSES, PARAPHRASES } from "../support/near-misses.ts";

test("of more than 500 near-misses each is refused, both ways round", () => {
  expect(new Set(NEAR_MISSES.map(({ one, other }) => `${one}\n${other}`)).size).toBe(NEAR_MISSES.length);
  expect(NEAR_MISSES.length).toBeGreaterThanOrEqual(500);
  const passed = NEAR_MISSES.filter(({ one, other }) => !vetoOf(one, other) || !vetoOf(other, one));
  expect(passed).toEqual([]);
  expect([...new Set(NEAR_MISSES.map(({ veto }) => veto))].sort()).toEqual([...VETOES].sort());
});

test("what only asks in other words is let through", () => {
  const refused = PARAPHRASES.map(([one, other]) => [one, other, vetoOf(one, other)]).filter(
    ([, , veto]) => veto,
  );
  expect(refused).toEqual([]);
});

test.each([
  ["number", "Add 3 and 4.", "Add 4 and 3."],
  ["number", "Rooms for two people", "Rooms for three people"],
  ["negation", "Is it safe?", "Isn't it safe?"],
  ["quote", 'Say "a b"', 'Say "a c"'],
  ["name", "Flights from Rome to Oslo", "Flights from Oslo to Rome"],
  ["name", "Paris is big, right?", "London is big, right?"],
  ["opposite", "How do I enable sound?", "How do I disable sound?"],
  ["order", "Does a bird eat a worm?", "Does a worm eat a bird?"],
  ["word", "how to boil an egg", "how to boil a potato"],
  ["script", "你好吗", "你好吗"],
])("what differs in a %s is refused for it", (veto, one, other) => {
  expect(vetoOf(one, other)).toBe(veto);
});

test("a hostile text is read in no time", () => {
  const long = `${"'a".repeat(1000)} ${"1.".repeat(1000)} ${'"'.repeat(1001)}`.slice(0, 2000);
  const startedAt = process.cpuUsage();
  expect(vetoOf(long, `${long}x`)).toBeDefined();
  expect(process.cpuUsage(startedAt).user).toBeLessThan(500_000);
});
