import { subscribe } from "node:diagnostics_channel";
import { existsSync, readFileSync } from "node:fs";
import { startWorker } from "../../src/host/one-process.ts";
import { readMcpFile } from "../../src/mcp/mcp-config.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { toolsByName } from "../../src/shared/tool.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { keyRingOf } from "../../src/store/key-ring.ts";
import { redisTarget } from "../../src/store/redis-target.ts";

/**
 * A worker of one queue, with a file of MCP servers, that is killed at a boundary: `queue file boundary trace`. The boundary is the number
 * of entries of a job's journal, or the beginning of a line of the server's trace.
 */
const [, , queue = "", file = "", boundary = "", trace = ""] = process.argv;
const kill = () => process.kill(process.pid, "SIGKILL");
subscribe("gluellm:journal", (message) => {
  if ((message as { position: number }).position === Number(boundary)) kill();
});
const isTraced = () => existsSync(trace) && readFileSync(trace, "utf8").includes(`\n${boundary}`);
if (Number.isNaN(Number(boundary))) setInterval(() => isTraced() && kill(), 10);
const settings = loadSettings();
const logger = createLogger({ level: "error", json: true });
await startWorker({
  store: openStore(
    redisTarget(settings.redisUrl ?? "", settings.namespace),
    settings.namespace,
    logger,
    keyRingOf(settings.encryption),
  ),
  settings,
  logger,
  queueGlobs: [queue],
  tools: toolsByName(readMcpFile(file, {})),
});
