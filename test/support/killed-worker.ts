import { subscribe } from "node:diagnostics_channel";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { toolsByName } from "../../src/shared/tool.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { keyRingOf } from "../../src/store/key-ring.ts";
import { redisTarget } from "../../src/store/redis-target.ts";
import { WorkerProcess } from "../../src/workers/worker-process.ts";
import { add } from "./tools.ts";

/** A worker of one queue that is killed when a job's journal has so many entries: `queue entries`. */
const [, , queue = "", entries = ""] = process.argv;
subscribe("gluellm:journal", (message) => {
  if ((message as { position: number }).position === Number(entries)) process.kill(process.pid, "SIGKILL");
});
const settings = loadSettings();
const logger = createLogger({ level: "error", json: true });
await WorkerProcess.start({
  store: openStore(
    redisTarget(settings.redisUrl ?? "", settings.namespace),
    settings.namespace,
    logger,
    keyRingOf(settings.encryption),
  ),
  settings,
  logger,
  queueGlobs: [queue],
  tools: toolsByName([add]),
});
