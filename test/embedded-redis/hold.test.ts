import { Redis } from "ioredis";
import { onTestFinished, test } from "vitest";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { startTimeOf } from "../../src/shared/process-identity.ts";
import { redisOptions, serverPid } from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

test("a held server that is killed comes back on the same socket, and ends after the release", async () => {
  let restarts = 0;
  const options = redisOptions({ idleShutdownMs: 250 });
  const held = await holdEmbeddedRedis({ ...options, onRestart: () => restarts++ });
  const client = new Redis({
    path: held.socketPath,
    maxRetriesPerRequest: null,
    retryStrategy: () => 20,
  });
  client.on("error", () => {});
  onTestFinished(() => client.disconnect());
  await client.config("SET", "appendfsync", "always");
  await client.set("key", "kept");

  for (const round of [1, 2]) {
    process.kill(await serverPid(held.socketPath), "SIGKILL");
    await waitFor("the restart", () => restarts === round);
    await waitFor("the old value", async () => (await client.get("key")) === "kept");
  }

  const server = await serverPid(held.socketPath);
  client.disconnect();
  held.release();
  await waitFor("the idle shutdown", () => startTimeOf(server) === undefined);
});
