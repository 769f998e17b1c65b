/** A process with a consumer of the history, and one of the audit, until it is killed. */
import { AuditConsumer } from "../../src/history/audit-consumer.ts";
import { HistoryConsumer } from "../../src/history/consumer.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { keyRingOf } from "../../src/store/key-ring.ts";
import { redisTarget } from "../../src/store/redis-target.ts";

const settings = loadSettings();
const logger = createLogger({ level: "warn", json: true });
const store = openStore(
  redisTarget(settings.redisUrl ?? "", settings.namespace),
  settings.namespace,
  logger,
  keyRingOf(settings.encryption),
);
// Who comes after one that was killed need not wait for long.
const options = { store, settings, logger, idleMs: 10, leaseMs: 250 };
const consumers = [new HistoryConsumer(options), new AuditConsumer(options)];
process.once("SIGTERM", async () => {
  await Promise.all(consumers.map((consumer) => consumer.close()));
  process.exit();
});
process.stderr.write("consuming\n");
setInterval(() => {}, 60_000);
