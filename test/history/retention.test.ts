import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openHistory } from "../../src/history/open-history.ts";
import { enforceRetention, type HistoryRules } from "../../src/history/retention.ts";
import { HISTORY_TABLES } from "../../src/shared/history-setting.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { TenantSettings } from "../../src/store/tenant.ts";
import { noPostgres, PostgresCluster } from "../support/postgres.ts";
import { testNamespace } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

const DAY_MS = 86_400_000;
const NOW = 1000 * DAY_MS;
const daysAgo = (days: number) => NOW - days * DAY_MS;

let cluster: PostgresCluster | undefined;
beforeAll(async () => {
  if (!noPostgres) cluster = await PostgresCluster.start();
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

function rules(days: number, more: Partial<HistoryRules> = {}): HistoryRules {
  const retentionMs = Object.fromEntries(HISTORY_TABLES.map((table) => [table, days * DAY_MS]));
  return {
    retentionMs: retentionMs as HistoryRules["retentionMs"],
    contentsMs: undefined,
    maxRows: {},
    ...more,
  };
}

async function opened(engine: string) {
  const place = engine === "postgres" ? { GLUELLM_DATABASE_URL: cluster?.url } : { GLUELLM_HISTORY: "true" };
  const env = { GLUELLM_NAMESPACE: testNamespace(), GLUELLM_DATA_DIR: temporaryFolder(), ...place };
  const history = await openHistory(loadSettings({ env, cwd: "/" }));
  onTestFinished(() => history.close());
  /** A job of each day, with what was said, its error, and a step of a run at one moment. */
  const write = (tenant: string, days: number) =>
    history.write({
      jobs: Array.from({ length: days }, (_, n) => ({
        ...{
          id: `${tenant}-${n}`,
          tenant,
          ended_at: daysAgo(n),
          prompt: "asked",
          answer: "said",
          version: 1,
        },
        ...{ error_message: "a fault", cost_microusd: 5 },
      })),
      errors: Array.from({ length: days }, (_, n) => ({
        ...{ id: `${tenant}-${n}`, tenant, at: daysAgo(n), code: "timeout", message: "a fault", version: 1 },
      })),
      steps: Array.from({ length: days }, (_, n) => ({
        ...{ run_id: `run-${tenant}`, step: `step ${String(n).padStart(5, "0")}`, tenant, version: 1 },
        updated_at: daysAgo(0),
      })),
    });
  const count = async (
    tenant: string,
    table = "jobs",
    where = table === "jobs" ? "prompt IS NOT NULL AND answer IS NOT NULL" : "1 = 1",
  ) => {
    const [all, full] = await Promise.all(
      [`tenant = '${tenant}'`, `tenant = '${tenant}' AND ${where}`].map((condition) =>
        history.query<{ n: number }>(`SELECT CAST(COUNT(*) AS BIGINT) AS n FROM ${table} WHERE ${condition}`),
      ),
    );
    return [Number(all?.[0]?.n), Number(full?.[0]?.n)];
  };
  const enforce = (given: HistoryRules, tenants?: [string, TenantSettings | undefined][]) =>
    enforceRetention(history, given, { now: NOW, tenants: new Map(tenants) });
  return { history, write, count, enforce };
}

for (const engine of noPostgres ? ["sqlite"] : ["sqlite", "postgres"]) {
  test(`${engine}: contents go before their rows, of a tenant by its own days`, async () => {
    const { history, write, count, enforce } = await opened(engine);
    for (const tenant of ["default", "short", "long", "broken"]) await write(tenant, 40);
    const tenants: [string, TenantSettings | undefined][] = [
      ["short", { historyDays: 9.5, historyContentDays: 2.5 }],
      ["long", { historyDays: 400, historyContentDays: 400 }],
      ["broken", undefined],
      ["other", { rpm: 5 }],
    ];
    const report = await enforce(rules(30.5, { contentsMs: 20.5 * DAY_MS }), tenants);
    expect(await count("default")).toEqual([31, 21]);
    expect(await count("short")).toEqual([10, 3]);
    expect(await count("long")).toEqual([40, 40]);
    expect(await count("broken")).toEqual([40, 40]);
    expect(await count("short", "errors", "message IS NOT NULL")).toEqual([10, 3]);
    // What is removed later in the same turn was emptied first.
    expect(report).toEqual({ contents: 2 * (19 + 37), jobs: 9 + 30, errors: 9 + 30 });
    const [row] = await history.query("SELECT * FROM jobs WHERE id = 'default-25'");
    expect(row).toMatchObject({ cost_microusd: 5, prompt: null, answer: null, error_message: null });
    expect(await enforce(rules(30.5, { contentsMs: 20.5 * DAY_MS }), tenants)).toEqual({});
  });

  test(`${engine}: the oldest rows go where there are too many, of all and of a tenant`, async () => {
    const { history, write, count, enforce } = await opened(engine);
    // More than one slice, and many of one moment.
    await write("big", 1500);
    await write("small", 10);
    const report = await enforce(rules(2000, { maxRows: { steps: 1200 } }), [
      ["small", { historyMaxRows: 4 }],
    ]);
    expect(report).toEqual({ jobs: 6, errors: 6, steps: 6 + 304 });
    expect(await count("small")).toEqual([4, 4]);
    expect(await history.query("SELECT id FROM jobs WHERE tenant = 'small' ORDER BY id")).toEqual(
      [0, 1, 2, 3].map((n) => ({ id: `small-${n}` })),
    );
    expect(await count("big")).toEqual([1500, 1500]);
    expect((await count("big", "steps"))[0] ?? 0).toBe(1196);
    await enforce(rules(2000, { maxRows: { jobs: 7 } }));
    expect(await count("big")).toEqual([3, 3]);
  });
}
