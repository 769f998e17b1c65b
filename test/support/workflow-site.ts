import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import { startWorker } from "../../src/client/one-process.ts";
import { type AnyWorkflow, GlueLLM } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { SimulatorOptions } from "../../src/simulator/simulator.ts";
import { MODEL, TestSite } from "./site.ts";

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
  const redisTarget = { socketPath: inject("redisSocket") };

  /** A worker in this process, closed with the test. */
  async function work(...workflows: AnyWorkflow[]) {
    const worker = await startWorker({ redisTarget, settings, logger, workflows });
    onTestFinished(() => worker.close());
    return worker;
  }

  /** A worker process that runs the exports of a module beside this one, killed with the test. */
  async function spawnWorker(module: string): Promise<ChildProcess> {
    const { PATH = "", HOME = "" } = process.env;
    const child = spawn(process.execPath, [WORKER, join(import.meta.dirname, module)], {
      env: { PATH, HOME, ...site.env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    await once(child.stdout, "data");
    return child;
  }

  return { site, settings, runs: client.workflows, work, spawnWorker };
}
