import { expect, inject, test } from "vitest";
import { HistoryConsumer } from "../../src/history/consumer.ts";
import { rowCounts } from "../../src/history/lists.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { announceJob, keepHistory } from "../../src/store/outbox.ts";
import { readHistoryLag } from "../../src/store/outbox-reader.ts";
import { noPostgres, PostgresCluster } from "../support/postgres.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const skipped = noPostgres ?? (inject("isFull") ? undefined : "only in test:full");

test.skipIf(skipped)(
  `a server that is down, and crashes, delays what ends (${skipped ?? "PostgreSQL"})`,
  async () => {
    await using cluster = await PostgresCluster.start();
    await cluster.stopServer("SIGQUIT");
    const logger = createLogger({ level: "silent", json: true });
    const warnings: string[] = [];
    logger.warn = ((_: unknown, message: string) => warnings.push(message)) as never;
    const store = testStore(testNamespace());
    const settings = loadSettings({ env: { GLUELLM_DATABASE_URL: cluster.url }, cwd: "/" });
    const announce = async (from: number) => {
      await keepHistory(store, { forMs: 3_600_000, maxEntries: 100_000 });
      for (let n = from; n < from + 300; n++)
        await announceJob(store, { id: `job-${n}`, queue: "q", errorCode: "corrupt_data", attempts: 1 });
    };
    const isWritten = async () => (await readHistoryLag(store)).waiting === 0;
    const consumer = new HistoryConsumer({ store, settings, logger, idleMs: 20 });
    await announce(0);
    await waitFor("it is said", () => warnings.length > 0);
    expect(await isWritten()).toBe(false);
    await cluster.startServer();
    await waitFor("all is written", isWritten);
    await cluster.stopServer("SIGQUIT");
    await announce(300);
    await cluster.startServer();
    await waitFor("all is written again", isWritten);
    await consumer.close();
    expect(warnings).toEqual(["the history cannot be written; what ends waits in Redis"]);
    const history = await openHistory(settings);
    expect(await rowCounts(history)).toMatchObject({ jobs: 600, errors: 600 });
    await history.close();
  },
);
