/**
 * A worker process: `workflow-worker.ts <module> [role]`. It runs the module's workflows, with its tools, retrievers and evaluators, the calls of models, or both.
 */
import { resolve } from "node:path";
import { startWorker } from "../../src/host/one-process.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { isStepFunction, stepFunctionsByName } from "../../src/shared/step-function.ts";
import { isTool, toolsByName } from "../../src/shared/tool.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { keyRingOf } from "../../src/store/key-ring.ts";
import { redisTarget } from "../../src/store/redis-target.ts";
import { isActivity } from "../../src/workflows/activity.ts";
import { isWorkflow } from "../../src/workflows/workflow.ts";

const [module = "", role = "all"] = process.argv.slice(2);
const exported = Object.values((await import(resolve(module))) as Record<string, unknown>);
const workflows = exported.filter(isWorkflow);
const tools = toolsByName(exported.filter(isTool));
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
  ...(role === "models" ? {} : { workflows }),
  ...(role === "workflows" && { queueGlobs: [] }),
  tools,
  ...(role !== "models" && { activities: exported.filter(isActivity) }),
  functions: stepFunctionsByName(exported.filter(isStepFunction)),
});
console.log("ready");
