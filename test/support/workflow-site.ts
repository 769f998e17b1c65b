import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { Queue } from "bullmq";
import { onTestFinished } from "vitest";
import { type FleetWorker, startWorker } from "../../src/host/one-process.ts";
import { type AnyWorkflow, GlueLLM } from "../../src/index.ts";
import { workflowQueue } from "../../src/shared/catalog.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName, ROUTE_QUEUE } from "../../src/shared/queue-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { isStepFunction, type StepFunction, stepFunctionsByName } from "../../src/shared/step-function.ts";
import type { SimulatorOptions } from "../../src/simulator/simulator.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { type AnyActivity, isActivity } from "../../src/workflows/activity.ts";
import { isWorkflow } from "../../src/workflows/workflow.ts";
import { WorkflowHost } from "../../src/workflows/workflow-host.ts";
import { endProcess, startNode } from "./processes.ts";
import { testRedis, testStore } from "./redis.ts";
import { MODEL, TestSite } from "./site.ts";
import { waitFor } from "./wait-for.ts";

const WORKER = join(import.meta.dirname, "workflow-worker.ts");

/** A fleet of one test's own: a simulator, a client, and workers in this process or in processes of their own. */
export async function workflowSite(options: SimulatorOptions = {}, variables: Record<string, string> = {}) {
  const site = await TestSite.open(
    { latencyMs: 2, ...options },
    { GLUELLM_DEFAULT_MODEL: MODEL, ...variables },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const client = new GlueLLM({ mode: "fleet", settings });
  onTestFinished(() => client.close());
  const logger = createLogger({ level: "silent", json: true });

  /** A worker for the models' queues in this process, closed with the test. */
  async function serveModels() {
    const worker = await startWorker({ store: testStore(settings.namespace), settings, logger });
    onTestFinished(() => worker.close());
  }

  /** Runs workflows in this process; without sticky runs every turn is a replay from the beginning. */
  async function host(workflows: readonly AnyWorkflow[], stickyRuns?: number): Promise<WorkflowHost> {
    const store = testStore(settings.namespace);
    const started = new WorkflowHost({ store, settings, logger, workflows, stickyRuns });
    onTestFinished(() => started.close({ drainMs: 0 }));
    return started;
  }

  /** A worker and a host whose turns are all replays. */
  async function workReplaying(...workflows: AnyWorkflow[]): Promise<void> {
    await Promise.all([serveModels(), host(workflows, 0)]);
  }

  /** A worker in this process as users start it, closed with the test. */
  async function work(...exports: (AnyWorkflow | AnyActivity | StepFunction)[]): Promise<FleetWorker> {
    const functions = stepFunctionsByName(exports.filter(isStepFunction));
    const workflows = exports.filter(isWorkflow);
    const activities = exports.filter(isActivity);
    const store = testStore(settings.namespace);
    const worker = await startWorker({ store, settings, logger, workflows, functions, activities });
    onTestFinished(() => worker.close());
    return worker;
  }

  /** A worker process of the exports of a module beside this one, killed with the test; or of one part of the work. */
  async function spawnWorker(module: string, role = "all"): Promise<ChildProcess> {
    const { child, stdout, stderr } = startNode([WORKER, join(import.meta.dirname, module), role], {
      env: site.env,
    });
    onTestFinished(() => endProcess(child));
    await waitFor("the worker", () => stdout() !== "" || child.exitCode !== null);
    if (child.exitCode !== null) throw new Error(`the worker ended: ${stderr()}`);
    return child;
  }

  const { workflows: runs } = client;
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());

  /** BullMQ's view of a queue: that of a model, `entry:model`, that of jobs of several models, or that of a workflow's runs. */
  function queueOf(what: string): Queue {
    const [entry = "", model = ""] = what.split(":");
    const ofNoModel = what === ROUTE_QUEUE ? what : workflowQueue(what);
    const queue = new Queue(model ? completionQueueName(modelRef(entry, model)) : ofNoModel, {
      connection: redis,
      prefix: redisKeys(settings.namespace).prefix,
    });
    onTestFinished(() => queue.close());
    return queue;
  }

  return {
    redis,
    queueOf,
    site,
    settings,
    client,
    runs,
    work,
    workReplaying,
    serveModels,
    host,
    spawnWorker,
  };
}
