/** A worker process that runs the test's workflows and has its tools: `workflow-worker.ts <module>`, whose exports they are. */
import { resolve } from "node:path";
import { startWorker } from "../../src/client/one-process.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { redisTarget } from "../../src/shared/redis.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { isTool, toolsByName } from "../../src/shared/tool.ts";
import { isWorkflow } from "../../src/workflows/workflow.ts";

const [module = ""] = process.argv.slice(2);
const exported = Object.values((await import(resolve(module))) as Record<string, unknown>);
const workflows = exported.filter(isWorkflow);
const tools = toolsByName(exported.filter(isTool));
const settings = loadSettings();
await startWorker({
  redisTarget: redisTarget(settings.redisUrl ?? ""),
  settings,
  logger: createLogger({ level: "error", json: true }),
  workflows,
  tools,
});
console.log("ready");
