import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { verifyAudit } from "../../src/history/audit-verify.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { Audit, readAuditState, switchAuditOn } from "../../src/store/audit.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { redisTarget } from "../../src/store/redis-target.ts";
import { noPostgres, PostgresCluster } from "../support/postgres.ts";
import { type StartedProcess, startNode } from "../support/processes.ts";
import { testNamespace } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { seededRandom } from "../support/sample.ts";
import { waitFor } from "../support/wait-for.ts";

const PROGRAM = join(import.meta.dirname, "../support/history-consumer.ts");
const DURABLE = { appendonly: "yes", appendfsync: "always" };
const ROUNDS = 30;
const BLOWS = ["kill", "killTwo", "pause", "redis", "both"] as const;

let cluster: PostgresCluster | undefined;
beforeAll(async () => {
  if (!noPostgres) cluster = await PostgresCluster.start();
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

test.each(noPostgres ? ["sqlite"] : ["sqlite", "postgres"])(
  "%s: who keeps the audit is killed and stopped at any moment, and Redis under it: each entry is in the chain, once",
  async (engine) => {
    let server = await startRedisServer(DURABLE);
    const { port, folder } = server;
    const url = `redis://127.0.0.1:${port}`;
    const namespace = testNamespace();
    const place: Record<string, string> =
      engine === "postgres" ? { GLUELLM_DATABASE_URL: cluster?.url ?? "" } : { GLUELLM_HISTORY: "true" };
    const env = {
      ...{ GLUELLM_NAMESPACE: namespace, GLUELLM_REDIS_URL: url, GLUELLM_DATA_DIR: temporaryFolder() },
      ...{ GLUELLM_AUDIT_KEY: "a key of at least thirty-two characters", ...place },
    };
    const settings = loadSettings({ env, cwd: "/" });
    const logger = createLogger({ level: "silent", json: true });
    const store = openStore(redisTarget(url, namespace), namespace, logger);
    onTestFinished(() => store.disconnect());
    const history = await openHistory(settings);
    onTestFinished(() => history.close());
    await switchAuditOn(store, settings.audit.maxWaiting);

    const audit = new Audit(store);
    let isOver = false;
    let acts = 0;
    const acting = (async () => {
      for (; !isOver; acts++) {
        const act = { actor: "key_1", tenant: "default", action: "gluellm test", target: `t${acts}` };
        await audit.around(act, () => delay(1));
      }
    })();

    const start = () => startNode([PROGRAM], { env });
    const end = async ({ child, exit }: StartedProcess) => {
      child.kill("SIGKILL");
      await exit;
    };
    let consumer = start();
    const moved = async () => {
      const { head } = await readAuditState(store);
      await waitFor("entries are in SQL", async () => (await readAuditState(store)).head > head);
    };
    const endRedis = async () => {
      const exit = new Promise((resolve) => server.child.once("exit", resolve));
      server.child.kill("SIGKILL");
      await exit;
    };
    const startRedis = async () => {
      server = await startRedisServer({ ...DURABLE, port: String(port), dir: folder });
    };
    const random = seededRandom(`audit ${engine}`);
    const blows: Record<(typeof BLOWS)[number], () => Promise<void>> = {
      kill: async () => {
        await end(consumer);
        consumer = start();
      },
      // Two that have been at it.
      killTwo: async () => {
        const other = start();
        await waitFor("the other one", () => other.stderr().includes("consuming"));
        await Promise.all([end(other), end(consumer)]);
        consumer = start();
      },
      // Another one has taken the lease when the first one goes on in the midst of its work.
      pause: async () => {
        const first = consumer;
        first.child.kill("SIGSTOP");
        consumer = start();
        await waitFor("the other one", () => consumer.stderr().includes("consuming"));
        // Several times its lease; what it has locked in SQL stays locked meanwhile.
        await delay(1000);
        first.child.kill("SIGCONT");
        await moved();
        await end(first);
      },
      redis: async () => {
        await endRedis();
        await startRedis();
      },
      both: async () => {
        await endRedis();
        await end(consumer);
        consumer = start();
        await waitFor("it is there before Redis is", () => consumer.stderr().includes("consuming"));
        await startRedis();
      },
    };
    for (let round = 0; round < ROUNDS; round++) {
      await moved();
      // The moment at which it strikes.
      await delay(random() * 100);
      await blows[BLOWS[Math.floor(random() * BLOWS.length)] as (typeof BLOWS)[number]]();
    }
    isOver = true;
    await acting;
    await waitFor("all is in SQL", async () => (await readAuditState(store)).waiting === 0);
    await end(consumer);

    const { number } = await readAuditState(store);
    const report = await verifyAudit(store, history, { keys: settings.audit.keys });
    expect(report).toMatchObject({ faults: [], rows: number, first: 1, waiting: 0 });
    const [counts] = await history.query(
      "SELECT CAST(COUNT(DISTINCT number) AS BIGINT) AS numbers, CAST(COUNT(DISTINCT target) AS BIGINT) AS targets FROM audit",
    );
    expect(counts).toEqual({ numbers: number, targets: acts });
    const ended = await history.query(
      "SELECT target FROM audit WHERE phase = 'ended' AND outcome = 'done' GROUP BY target",
    );
    expect(ended).toHaveLength(acts);
    // One whose answer was lost with its Redis was written down again: at most one of each kill.
    expect(number - 2 * acts).toBeGreaterThanOrEqual(0);
    expect(number - 2 * acts).toBeLessThanOrEqual(ROUNDS);
  },
);
