import { expect, test } from "vitest";
import { startCluster, startSentinels } from "../support/redis-groups.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { findValkey } from "../support/valkey.ts";
import { waitFor } from "../support/wait-for.ts";

const CONCURRENCY = 8;
const LATENCY_MS = 60;
const ROWS = 400;
/** Calls in flight, and one second of records: replication lags by less. */
const MAX_REPEATS = CONCURRENCY + (CONCURRENCY * 1000) / LATENCY_MS;

const GROUPS = {
  Sentinel: () => startSentinels(),
  "Valkey's Sentinel": async (_: string, skip: (why: string) => never) => {
    const valkey = await findValkey();
    return typeof valkey === "string" ? skip(valkey) : startSentinels(3, {}, valkey);
  },
  Cluster: (namespace: string) => startCluster(namespace),
} as const;

test.for([
  ["Sentinel", "failOver"],
  ["Sentinel", "switchOver"],
  ["Cluster", "failOver"],
  ["Cluster", "switchOver"],
  ["Valkey's Sentinel", "failOver"],
  ["Valkey's Sentinel", "switchOver"],
] as const)(
  "%s, %s in mid-batch: it goes on with the primary that has taken over, and nothing is lost",
  async ([kind, change], { skip }) => {
    const env: Record<string, string> = { ...SHORT_LOCKS };
    await using site = await TestSite.open({ latencyMs: LATENCY_MS }, env);
    const group = await GROUPS[kind](site.namespace, skip);
    env.GLUELLM_REDIS_URL = group.url;
    site.write("in.jsonl", site.rows(ROWS));
    const runner = site.start(...site.batch("--concurrency", String(CONCURRENCY)));
    await waitFor("50 answers", () => site.paidCalls().size > 50);
    await group[change]();
    expect(await runner.exit, runner.stderr()).toBe(0);
    expect(runner.stderr()).toContain(`${ROWS} of ${ROWS} rows succeeded`);
    expect(site.paidCalls().size).toBe(ROWS);
    expect(site.read("out.jsonl")).toHaveLength(ROWS);
    expect(site.repeatedCalls()).toBeLessThanOrEqual(MAX_REPEATS);
  },
);
