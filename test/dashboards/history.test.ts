import type { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { mountRest } from "../../src/api/rest-mount.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { openDashboard, send } from "../support/dashboard.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

const TOKEN = "ab".repeat(32);

test("the dashboard opens the history once, however often it is asked, and closes it", async () => {
  const namespace = testNamespace();
  const env = {
    GLUELLM_NAMESPACE: namespace,
    GLUELLM_HISTORY: "true",
    GLUELLM_DATA_DIR: temporaryFolder(),
  };
  const settings = loadSettings({ env, cwd: "/" });
  const store = testStore(namespace);
  const logger = createLogger({ level: "silent", json: true });
  const begun = new Set<Worker>();
  const ended = new Set<Worker>();
  const note = (thread: Worker) => {
    begun.add(thread);
    thread.once("exit", () => ended.add(thread));
  };
  process.on("worker", note);
  onTestFinished(() => void process.off("worker", note));
  const { url, close } = await openDashboard({
    ...{ namespace, token: TOKEN },
    mountRest: (knownCaller) => mountRest({ settings, logger, store }, knownCaller),
  });
  const ask = (question: string) =>
    send(`${new URL(url).origin}/api/history/${question}`, "GET", { authorization: `Bearer ${TOKEN}` });

  const answers = [await ask("spend"), await ask("spend"), await ask("jobs"), await ask("runs")];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(begun.size).toBe(1);
  await close();
  await waitFor("the end of its thread", () => ended.size === 1);
});
