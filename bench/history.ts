/**
 * `npm run bench:history`: a batch with the history on beside the same with it off, and how fast its consumer takes in what a batch
 * ended, on both engines. PostgreSQL is a throwaway cluster, where it is installed. Arguments: rows (5,000), rounds (3).
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HistoryConsumer } from "../src/history/consumer.ts";
import { rowCounts } from "../src/history/lists.ts";
import { openHistory } from "../src/history/open-history.ts";
import { createLogger } from "../src/shared/logger.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { type ConnectedStore, openStore } from "../src/store/connected-store.ts";
import { endHistory, keepHistory } from "../src/store/outbox.ts";
import { readHistoryLag } from "../src/store/outbox-reader.ts";
import { noPostgres, PostgresCluster } from "../test/support/postgres.ts";
import { BenchSite } from "./site.ts";

const ROWS = Number(process.argv[2] ?? 5000);
const ROUNDS = Number(process.argv[3] ?? 3);
const logger = createLogger({ level: "warn", json: true });

await using site = await BenchSite.open();
const store = openStore({ socketPath: site.socketPath }, "default", logger);
const input = site.writeRows("in.jsonl", ROWS);
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
const shown = (values: readonly number[]) =>
  `${median(values).toFixed(0)} (${values.map((value) => value.toFixed(0)).join(" ")})`;

/** Of a history in a folder of its own, or in a database. */
function settingsOf(folder: string, databaseUrl?: string) {
  const env = { GLUELLM_DATA_DIR: join(site.folder, folder), GLUELLM_HISTORY: "true" };
  return loadSettings({
    env: { ...env, ...(databaseUrl && { GLUELLM_DATABASE_URL: databaseUrl }) },
    cwd: "/",
  });
}

async function batch(name: string, isOn: boolean): Promise<number> {
  site.env = { GLUELLM_HISTORY: String(isOn) };
  const { total, durationMs } = await site.batch(input, `${name}.jsonl`).report;
  return (1000 * total) / durationMs;
}

await batch("warm-up", false);
const figures = { on: [] as number[], off: [] as number[] };
for (let round = 0; round < ROUNDS; round++) {
  for (const isOn of round % 2 === 0 ? [true, false] : [false, true]) {
    const consumer = isOn
      ? new HistoryConsumer({ store, settings: settingsOf("rounds"), logger })
      : undefined;
    if (isOn) await keepHistory(store, { forMs: 3_600_000, maxEntries: 1_000_000 });
    figures[isOn ? "on" : "off"].push(await batch(`out-${round}-${isOn}`, isOn));
    await consumer?.close();
    await endHistory(store);
  }
}
console.log(
  `rows per second, ${ROWS} rows, 0 ms provider: history on ${shown(figures.on)}, off ${shown(figures.off)}`,
);
console.log(`on / off: ${(median(figures.on) / median(figures.off)).toFixed(2)}`);

/** How many ends a consumer takes in per second that wait for it. */
async function intake(databaseUrl: string | undefined, to: ConnectedStore): Promise<number> {
  await keepHistory(to, { forMs: 3_600_000, maxEntries: 1_000_000 });
  await batch(`fill-${databaseUrl === undefined}`, true);
  await endHistory(to);
  const { waiting } = await readHistoryLag(to);
  const settings = settingsOf("intake", databaseUrl);
  const history = await openHistory(settings);
  const startedAt = performance.now();
  const consumer = new HistoryConsumer({ store: to, settings, logger, idleMs: 5 });
  while ((await readHistoryLag(to)).waiting > 0) await delay(5);
  const perSecond = (1000 * waiting) / (performance.now() - startedAt);
  await consumer.close();
  const { jobs } = await rowCounts(history);
  if (jobs < waiting - 10) throw new Error(`${jobs} of ${waiting} are in the history`);
  await history.close();
  return perSecond;
}

const sqlite = await intake(undefined, store);
console.log(
  `ends taken in per second: SQLite ${sqlite.toFixed(0)}, ${(sqlite / median(figures.on)).toFixed(1)} × what the batch made`,
);
if (noPostgres) console.log(`PostgreSQL: not measured, ${noPostgres}`);
else {
  await using cluster = await PostgresCluster.start();
  const postgres = await intake(cluster.url, store);
  console.log(`PostgreSQL ${postgres.toFixed(0)}, ${(postgres / median(figures.on)).toFixed(1)} ×`);
}
store.disconnect();
