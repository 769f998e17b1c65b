import { expect, test } from "vitest";
import { viewBatch } from "../../src/store/batch.ts";
import type { Store } from "../../src/store/store.ts";
import { laneSite } from "../support/lane-site.ts";
import { waitFor } from "../support/wait-for.ts";

/* Rows of which nobody can tell whether a provider batch has them: it is said what they wait for, and how they are bought. */

const ROWS = 6;

async function lanesOf(store: Store) {
  const [id = ""] = await store.redis.zrange(store.keys.batches, "0", "-1");
  return id === "" ? [] : ((await viewBatch(store, id))?.lanes ?? []);
}

test("rows of an unknown provider batch say what they wait for, and without --by are bought when that is asked for", {
  tags: "long",
}, async () => {
  const { site, store } = await laneSite({ durationMs: 2e12 });
  await using _ = site;
  site.write("in.jsonl", site.rows(ROWS));
  const run = site.startWith({ SIMULATOR_API_KEY: "one" }, ...site.batch("--by", "1h"));
  await waitFor("the provider's batch", async () => (await lanesOf(store))[0]?.state === "in_progress");
  run.child.kill("SIGKILL");
  await run.exit;
  // The key is another account's.
  const other = { SIMULATOR_API_KEY: "two" };
  const waiting = () => site.startWith(other, ...site.batch());
  for (const start of [() => site.startWith(other, ...site.batch("--by", "2s")), waiting]) {
    const next = start();
    await waitFor("what its rows wait for", () => next.stderr().includes("is unknown"));
    // Beyond a deadline no row is left that could go by single calls.
    expect(await lanesOf(store)).toMatchObject([{ state: "unknown", rows: ROWS }]);
    next.child.kill("SIGINT");
    expect(await next.exit).toBe(130);
    expect(next.stderr()).toMatch(
      /6 rows of simulator:test wait: provider batch batch_\w+ is unknown; simulator does not/,
    );
    expect(next.stderr()).toContain("--on-unknown buy");
    expect(next.stderr()).not.toContain("go by single calls");
  }
  expect(site.paidCalls().size).toBe(0);
  const bought = site.startWith(other, ...site.batch("--on-unknown", "buy"));
  expect(await bought.exit).toBe(0);
  expect([...site.paidCalls().values()]).toEqual(Array(ROWS).fill(1));
});
