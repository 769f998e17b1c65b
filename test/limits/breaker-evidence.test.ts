import { expect, test } from "vitest";
import { admitted, fail, KEY, openFleet } from "../support/breaker-fleet.ts";
import { waitFor } from "../support/wait-for.ts";

test("a provider that is asked seldom is given up after ten failures in a row, however far apart", async () => {
  const { first, second, state } = await openFleet({ minCalls: 20, windowMs: 200 });
  await fail(first, 9);
  await second.succeeded(KEY, await admitted(second));
  await waitFor("the success is reported", async () => (await state()).calls === 0);
  await fail(second, 1);
  expect(first.isOpen(KEY)).toBe(false);
  for (let failures = 0; failures < 9; failures++) {
    await waitFor("an empty window", async () => (await state()).calls === 0);
    await fail(first, 1);
  }
  expect(await state()).toMatchObject({ state: "open", opened: 1 });
});

test("under load an outage opens it at once, though the window holds many more successes", async () => {
  const { first, state } = await openFleet({ minCalls: 20, windowMs: 20_000 });
  for (let call = 0; call < 2000; call++) await first.succeeded(KEY, await admitted(first));
  await waitFor("they are reported", async () => (await state()).calls === 2000);
  const at = performance.now();
  await waitFor("a newer slot", () => performance.now() - at > 2100);
  await fail(first, 60).catch(() => {});
  expect(await state()).toMatchObject({ state: "open", opened: 1, failures: 50, calls: 50 });
});

test("a request that fails again and again says nothing of the others, until nothing has succeeded for a while", async () => {
  const { first, second, state } = await openFleet({ quietMs: 5000, patienceMs: 60_000 });
  const again = async () => first.failed(KEY, await admitted(first), { isRepeated: true });
  await fail(first, 1);
  for (let failures = 0; failures < 40; failures++) expect(await again()).toBe("closed");
  expect(await state()).toMatchObject({ state: "closed", failures: 1, calls: 1 });
  await second.succeeded(KEY, await admitted(second));
  await waitFor("the success is reported", async () => (await state()).calls === 2);
  const at = performance.now();
  await again();
  await waitFor("the breaker opens", async () => first.isOpen(KEY) || (await again()) === "open");
  expect(performance.now() - at, "not since the first failure, but since the success").toBeGreaterThan(4900);
  expect(first.excuses(KEY)).toBe(true);
  expect((await state()).failures).toBeGreaterThan(1);
});

test("failures of few requests are excused for a while, those of many as long as it is open", async () => {
  const few = await openFleet({ quietMs: 50, patienceMs: 3000, cooldownMs: 60_000 });
  await waitFor("the breaker opens", async () => {
    const isOpen = few.first.isOpen(KEY);
    return isOpen || (await few.first.failed(KEY, undefined, { isRepeated: true })) === "open";
  });
  expect(few.first.excuses(KEY)).toBe(true);
  await waitFor("the end of its patience", () => !few.first.excuses(KEY));
  expect(few.first.isOpen(KEY)).toBe(true);
  const many = await openFleet({ quietMs: 50, patienceMs: 1, cooldownMs: 60_000 });
  await fail(many.first, 4);
  expect(many.first.excuses(KEY)).toBe(true);
});
