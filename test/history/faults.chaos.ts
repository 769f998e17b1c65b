import { spawnSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { HistoryConsumer } from "../../src/history/consumer.ts";
import { rowCounts } from "../../src/history/lists.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { announceJob, keepHistory } from "../../src/store/outbox.ts";
import { readHistoryLag } from "../../src/store/outbox-reader.ts";
import { redisTarget } from "../../src/store/redis-target.ts";
import type { Store } from "../../src/store/store.ts";
import { startProcess } from "../support/processes.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { waitFor } from "../support/wait-for.ts";

const PROGRAM = join(import.meta.dirname, "../support/history-consumer.ts");
const DISK_KB = 2048;
const FILLER_KB = 1536;
/** A disk of its own for one process, most of it taken: the folder, then the command. */
const ON_SMALL_DISK = `mount -t tmpfs -o size=${DISK_KB}k none "$0" &&
  head -c ${FILLER_KB * 1024} /dev/zero > "$0/filler" && exec "$@"`;
const canMount = spawnSync("unshare", ["-rm", "sh", "-c", "mount -t tmpfs none /mnt"]).status === 0;

async function announce(store: Store, from: number, to: number): Promise<void> {
  await keepHistory(store, { forMs: 3_600_000, maxEntries: 100_000 });
  for (let n = from; n < to; n++)
    await announceJob(store, { id: `job-${n}`, queue: "q", errorCode: "corrupt_data", attempts: 1 });
}

const waitingOf = async (store: Store) => (await readHistoryLag(store)).waiting;

test.skipIf(!canMount)(
  "a full disk delays what ends, is said once, and costs nothing (needs unshare and tmpfs)",
  async () => {
    const namespace = testNamespace();
    const store = testStore(namespace);
    const folder = temporaryFolder();
    const env = {
      ...{ GLUELLM_NAMESPACE: namespace, GLUELLM_HISTORY: "true", GLUELLM_DATA_DIR: folder },
      GLUELLM_REDIS_URL: `unix://${String(store.redis.options.path)}`,
    };
    const command = ["-rm", "sh", "-c", ON_SMALL_DISK, folder, process.execPath, PROGRAM];
    const { child, stderr, exit } = startProcess("unshare", command, { env });
    onTestFinished(() => void child.kill("SIGKILL"));
    await waitFor("the consumer", () => stderr().includes("consuming"));
    const said = () => stderr().split("the history cannot be written").length - 1;
    let announced = 0;
    while (said() === 0) {
      await announce(store, announced, announced + 500);
      announced += 500;
      await waitFor("an end", async () => said() > 0 || (await waitingOf(store)) === 0);
      expect(announced).toBeLessThan(50_000);
    }
    expect(stderr()).toMatch(/"fault":"[^"]*(full|disk)/);
    await announce(store, announced, announced + 500);
    announced += 500;
    expect(await waitingOf(store)).toBeGreaterThanOrEqual(500);

    // As the process sees it.
    const seen = `/proc/${child.pid}/root${folder}`;
    rmSync(join(seen, "filler"));
    await waitFor("all is written", async () => (await waitingOf(store)) === 0);
    expect(said()).toBe(1);
    // SQLite would look where the path leads in this process.
    const copy = temporaryFolder();
    cpSync(join(seen, "history"), join(copy, "history"), { recursive: true });
    const settings = loadSettings({ env: { ...env, GLUELLM_DATA_DIR: copy }, cwd: "/" });
    const history = await openHistory(settings);
    expect(await rowCounts(history)).toMatchObject({ jobs: announced, errors: announced });
    await history.close();
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
  },
);

test("Redis that is killed under it, and comes back with its log, loses nothing that was written down", async () => {
  const durable = { appendonly: "yes", appendfsync: "always" };
  let server = await startRedisServer(durable);
  const { port, folder } = server;
  const url = `redis://127.0.0.1:${port}`;
  const namespace = testNamespace();
  const env = {
    ...{ GLUELLM_NAMESPACE: namespace, GLUELLM_HISTORY: "true", GLUELLM_DATA_DIR: temporaryFolder() },
    GLUELLM_REDIS_URL: url,
  };
  const settings = loadSettings({ env, cwd: "/" });
  const told: string[] = [];
  const logger = createLogger({ level: "silent", json: true });
  logger.warn = ((...args: unknown[]) => told.push(String(args.at(-1)))) as never;
  logger.error = logger.warn;
  const store = openStore(redisTarget(url, namespace), namespace, logger);
  onTestFinished(() => store.disconnect());
  const consumer = new HistoryConsumer({ store, settings, logger, idleMs: 20, leaseMs: 250 });
  onTestFinished(() => consumer.close());
  const history = await openHistory(settings);
  onTestFinished(() => history.close());
  let announced = 0;
  for (let round = 0; round < 3; round++) {
    const before = Number((await rowCounts(history)).jobs);
    const announcing = announce(store, announced, announced + 1000);
    announced += 1000;
    // Amid its work, and that of those who announce.
    await waitFor("some rows", async () => Number((await rowCounts(history)).jobs) > before);
    server.child.kill("SIGKILL");
    // Once a minute.
    await waitFor("it is said", () => told.length > 0);
    server = await startRedisServer({ ...durable, port: String(port), dir: folder });
    await announcing;
    await waitFor("all is written", async () => (await waitingOf(store)) === 0);
    const { jobs, errors } = await rowCounts(history);
    expect(jobs).toBe(announced);
    // What was in flight at a kill may have been told more than once, as failures of one job.
    expect(errors).toBeGreaterThanOrEqual(announced);
    expect(Number(errors)).toBeLessThan(announced + 100);
  }
});
