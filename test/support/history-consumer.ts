/** A process with a consumer of the history, until it is killed. */
import { HistoryConsumer } from "../../src/history/consumer.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { redisTarget } from "../../src/store/redis-target.ts";

const settings = loadSettings();
const logger = createLogger({ level: "warn", json: true });
const store = openStore(redisTarget(settings.redisUrl ?? ""), settings.namespace, logger);
// Who comes after one that was killed need not wait for long.
const consumer = new HistoryConsumer({ store, settings, logger, idleMs: 10, leaseMs: 250 });
process.once("SIGTERM", () => consumer.close().then(() => process.exit()));
process.stderr.write("consuming\n");
setInterval(() => {}, 60_000);
