import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HistoryDatabase } from "../../src/history/database.ts";
import * as lists from "../../src/history/lists.ts";
import { pastRun } from "../../src/history/past-run.ts";
import { PostgresHistory } from "../../src/history/postgres.ts";
import * as reports from "../../src/history/reports.ts";
import { SqliteHistory } from "../../src/history/sqlite.ts";
import { noPostgres, PostgresCluster } from "../support/postgres.ts";
import { waitFor } from "../support/wait-for.ts";
import { FIXTURE_END, fixtureRows } from "./fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "gluellm-history-"));
let sqlite: HistoryDatabase;
let cluster: PostgresCluster | undefined;
let postgres: HistoryDatabase | undefined;

beforeAll(async () => {
  sqlite = await SqliteHistory.open(join(folder, "history.sqlite"));
  await sqlite.write(fixtureRows());
  if (noPostgres) return;
  cluster = await PostgresCluster.start();
  // Two processes that begin at once make one schema.
  const [first, second] = await Promise.all([
    PostgresHistory.open(cluster.url, "one"),
    PostgresHistory.open(cluster.url, "one"),
  ]);
  await second.close();
  postgres = first;
  await postgres.write(fixtureRows());
});
afterAll(async () => {
  await sqlite.close();
  await postgres?.close();
  await cluster?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const DAY_MS = 86_400_000;
const ALL = { since: FIXTURE_END - 3 * DAY_MS, limit: 10_000 };
const SCOPES = [
  ALL,
  { since: FIXTURE_END - DAY_MS, until: FIXTURE_END - 1000 },
  { ...ALL, tenant: "été" },
  { ...ALL, limit: 3 },
  { since: FIXTURE_END },
];
const CALLS_BY = [
  undefined,
  [],
  ["model", "tenant", "day"],
  ["hour"],
  ["batch", "provider", "lane"],
  ["run"],
];

type Ask = (history: HistoryDatabase) => Promise<unknown[]>;
const QUESTIONS: [string, Ask][] = SCOPES.flatMap((scope, n): [string, Ask][] => [
  ...[reports.spend, reports.latency, reports.cacheUse].flatMap((report) =>
    CALLS_BY.map((by): [string, Ask] => [
      `${report.name} ${n} by ${by}`,
      (history) => report(history, { ...scope, by }),
    ]),
  ),
  ...[["code"], ["model", "day"], [], ["tenant", "source", "category"]].map((by): [string, Ask] => [
    `failures ${n} by ${by}`,
    (history) => reports.failures(history, { ...scope, by }),
  ]),
  ...[["workflow"], ["state", "tenant"], ["day"], []].map((by): [string, Ask] => [
    `runs ${n} by ${by}`,
    (history) => reports.runs(history, { ...scope, by }),
  ]),
  ...lists.SLOW_KINDS.map((of): [string, Ask] => [
    `slowest ${of} ${n}`,
    (history) => lists.slowest(history, { ...scope, of }),
  ]),
  [`batches ${n}`, (history) => lists.batches(history, scope)],
  [`jobs ${n}`, (history) => lists.jobs(history, scope)],
]);

describe("reports of the history", () => {
  it.skipIf(noPostgres)(`are equal on both engines${noPostgres ? `: ${noPostgres}` : ""}`, async () => {
    const [theirs, ours] = [postgres as HistoryDatabase, sqlite];
    let rows = 0;
    for (const [name, ask] of QUESTIONS) {
      const [first, second] = await Promise.all([ask(ours), ask(theirs)]);
      expect(second, name).toEqual(first);
      rows += first.length;
    }
    expect(rows).toBeGreaterThan(1000);
    for (const text of ["50% of 'x'\\y", "row-7", "job-12", "%"]) {
      const [first, second] = await Promise.all(
        [ours, theirs].map((history) => lists.jobs(history, { ...ALL, text })),
      );
      expect(
        second?.map(({ id }) => id),
        text,
      ).toEqual(first?.map(({ id }) => id));
      expect(first?.length, text).toBeGreaterThan(0);
    }
    expect(await pastRun(theirs, "run-3")).toEqual(await pastRun(ours, "run-3"));
  });

  it.skipIf(noPostgres)("take a row again without a change, and no older one over it", async () => {
    for (const history of [sqlite, postgres as HistoryDatabase]) {
      const before = await reports.spend(history, ALL);
      await history.write(fixtureRows());
      const { calls = [] } = fixtureRows();
      await history.write({ calls: calls.map((call) => ({ ...call, cost_microusd: 1, version: 0 })) });
      expect(await reports.spend(history, ALL)).toEqual(before);
      // Two of one key in one go: the later one stands, whichever is first.
      const [call = {}] = calls;
      const later = { ...call, model: "later", version: FIXTURE_END };
      await history.write({
        calls: [later, { ...call, model: "between", version: Number(call.version) + 1 }],
      });
      const models = (await reports.spend(history, ALL)).map(({ group }) => group.model);
      expect(models).toContain("later");
      expect(models).not.toContain("between");
      await history.write({ calls: [{ ...call, version: FIXTURE_END + 1 }] });
    }
  });

  it.skipIf(noPostgres)("outlive a connection that ends in the midst of a transaction", async () => {
    const history = postgres as HistoryDatabase;
    const other = new pg.Client({ connectionString: cluster?.url ?? "" });
    await other.connect();
    const { rows } = await other.query(
      "SELECT table_schema FROM information_schema.tables WHERE table_name = 'audit'",
    );
    await other.query(`BEGIN; LOCK TABLE "${rows[0].table_schema}".audit`);
    const writing = history
      .write({ audit: [{ id: "cut", at: 1, version: 1 }] })
      .catch((error: Error) => error);
    const waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    await waitFor("the write", async () => (await other.query(`SELECT 1 ${waiting}`)).rowCount);
    await other.query(`SELECT pg_terminate_backend(pid) ${waiting}`);
    expect(await writing).toMatchObject({ code: "57P01" });
    await other.query("ROLLBACK");
    await other.end();
    await history.write({ audit: [{ id: "after", at: 1, version: 1 }] });
    expect(await history.remove("DELETE FROM audit WHERE id = $1", ["after"])).toBe(1);
  });

  it.skipIf(noPostgres)("come back when the server of PostgreSQL does", async () => {
    const history = postgres as HistoryDatabase;
    const before = await reports.spend(history, ALL);
    await cluster?.stopServer("SIGQUIT");
    await expect(history.write({ audit: [{ id: "a", at: 1, version: 1 }] })).rejects.toThrow();
    await cluster?.startServer();
    expect(await reports.spend(history, ALL)).toEqual(before);
  });
});
