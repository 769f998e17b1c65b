import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { jobs, slowest } from "../../src/history/lists.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { pastRun } from "../../src/history/past-run.ts";
import { cacheUse, failures, latency, runs, spend } from "../../src/history/reports.ts";
import { SqliteHistory } from "../../src/history/sqlite.ts";
import type { RowOf } from "../../src/history/tables.ts";
import { loadSettings } from "../../src/shared/settings.ts";

const folder = mkdtempSync(join(tmpdir(), "gluellm-history-"));
const path = join(folder, "deep", "history.sqlite");
let history: SqliteHistory;

const NOON = Date.UTC(2026, 10, 29, 12);
const DAY_MS = 86_400_000;

function call(n: number, fields: RowOf<"calls"> = {}): RowOf<"calls"> {
  return {
    ...{ id: `job-${n}/0`, job_id: `job-${n}`, tenant: "default", provider: "openai", model: "openai:a" },
    ...{ ended_at: NOON, latency_ms: n * 10, prompt_tokens: 100, cached_tokens: 50, completion_tokens: 10 },
    ...{ cost_microusd: 1500, from_cache: 0, version: NOON, ...fields },
  };
}

beforeAll(async () => {
  history = await SqliteHistory.open(path);
  const calls = Array.from({ length: 100 }, (_, n) => call(n + 1));
  calls.push(call(101, { model: "openai:b", cost_microusd: null, ended_at: NOON - DAY_MS, tenant: "acme" }));
  calls.push(call(102, { model: "openai:b", cost_microusd: 0, from_cache: 1, latency_ms: 9_999_999 }));
  const errors = [1, 2, 3].map(
    (n): RowOf<"errors"> => ({
      ...{ id: `e${n}`, source: "job", source_id: `job-${n}`, at: NOON + n, code: "timeout", version: NOON },
      message: `number ${n}`,
    }),
  );
  await history.write({ calls, errors });
});
afterAll(async () => {
  await history.close();
  rmSync(folder, { recursive: true });
});

it("adds up what was spent, by what is asked for", async () => {
  expect(await spend(history, { since: NOON })).toMatchObject([
    {
      group: { model: "openai:a" },
      calls: 100,
      promptTokens: 10_000,
      cachedTokens: 5000,
      costUsd: 0.15,
      unpriced: 0,
    },
    { group: { model: "openai:b" }, calls: 1, costUsd: 0, unpriced: 0 },
  ]);
  const byDay = await spend(history, { since: 0, by: ["day", "tenant"] });
  expect(byDay.map(({ group, calls, unpriced }) => [group.day, group.tenant, calls, unpriced])).toEqual([
    ["2026-11-28", "acme", 1, 1],
    ["2026-11-29", "default", 101, 0],
  ]);
  expect(await spend(history, { since: NOON + 1 })).toEqual([]);
  await expect(spend(history, { by: ["colour"] })).rejects.toThrow(/cannot be grouped by "colour"/);
});

it("knows percentiles by nearest rank, of what a provider answered", async () => {
  const [a] = await latency(history, { since: NOON, by: [] });
  expect(a).toMatchObject({ calls: 100, latencyMs: { p50: 500, p95: 950, p99: 990, max: 1000 } });
  expect(a?.firstTokenMs).toEqual({ p50: null, p95: null, p99: null });
  expect(await cacheUse(history, { since: NOON, model: "openai:b" })).toMatchObject([
    { answers: 1, fromCache: 1 },
  ]);
});

it("shows failures by their cause with the latest, and the slowest first", async () => {
  expect(await failures(history, { since: NOON })).toMatchObject([
    { group: { code: "timeout" }, count: 3, example: { source: "job", id: "job-3", message: "number 3" } },
  ]);
  expect((await slowest(history, { since: NOON, limit: 2 })).map(({ id }) => id)).toEqual([
    "job-102/0",
    "job-100/0",
  ]);
  expect(await runs(history, { since: 0 })).toEqual([]);
  expect(await jobs(history, { since: 0 })).toEqual([]);
  expect(await pastRun(history, "run-1")).toBeUndefined();
});

it("is its owner's alone on the disk, and for a later schema only", async () => {
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await history.query("INSERT INTO schema_version VALUES (99)");
  await expect(SqliteHistory.open(path)).rejects.toThrow(/made by a later gluellm/);
  const later = await SqliteHistory.open(join(folder, "history", "later.sqlite"));
  await later.query("INSERT INTO schema_version VALUES (99)");
  await later.close();
  const { history: settings } = loadSettings({ env: { GLUELLM_HISTORY: "true" }, cwd: "/" });
  await expect(openHistory({ namespace: "later", dataDir: folder, history: settings })).rejects.toMatchObject(
    {
      hint: expect.stringContaining("update gluellm"),
    },
  );
});
