import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TestProject } from "vitest/node";
import { stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { buildBundle } from "./build-bundle.ts";
import { testSystem } from "./system.ts";

declare module "vitest" {
  interface ProvidedContext {
    redisSocket: string;
    isFull: boolean;
    /** Neither the whole run nor one of files that were named. */
    isGate: boolean;
    seed: number;
    /** Of a campaign that was asked for; else 0. */
    deaths: number;
  }
}

/** Before a run: its folder, its reaper, and unless only unit tests run, a bundle for its processes and a Redis. */
export default async function setup(project: TestProject) {
  const { isFull, seed, deaths = 0 } = project.config.provide;
  if (!isFull) console.log(`samples of what is long: GLUELLM_TEST_SEED=${seed} draws the same again`);
  const endRun = openRun();
  const isIntegration = project.vitest.projects.some(({ name }) => name !== "unit");
  // The whole run has the files as they are; a campaign starts processes by the hundred.
  const isBundled = isIntegration && (!isFull || deaths > 0) && process.env.GLUELLM_TEST_SOURCES !== "1";
  if (isBundled) process.env.GLUELLM_TEST_BUNDLE = await buildBundle();
  const stopRedis = isIntegration ? await startRedis(project) : undefined;
  return async () => {
    await stopRedis?.();
    const left = await endRun();
    if (left > 0) console.warn(`processes that the tests left, and that were ended now: ${left}`);
  };
}

/** All that a run writes and starts belongs to one folder, by which the reaper finds what is left of it. */
function openRun() {
  const { TMPDIR } = process.env;
  const folder = mkdtempSync(join(tmpdir(), "gluellm-"));
  const reaper = spawn(process.execPath, [join(import.meta.dirname, "reaper.ts"), folder], {
    // Ctrl-C ends the run, not its reaper.
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const output = text(reaper.stdout);
  process.env.TMPDIR = folder;
  return async () => {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
    const end = once(reaper, "exit");
    reaper.stdin.end();
    await end;
    return Number(await output);
  };
}

/** One embedded Redis for the whole suite, whatever REDIS_URL says: it must never be somebody's production. */
async function startRedis(project: TestProject) {
  const dataDir = mkdtempSync(join(tmpdir(), "gluellm-test-"));
  const options = { dataDir, system: testSystem(), onProgress: console.log };
  const redis = await holdEmbeddedRedis({ ...options, idleShutdownMs: 5000 });
  project.provide("redisSocket", redis.socketPath);
  return async () => {
    redis.release();
    await stopEmbeddedRedis(options);
  };
}
