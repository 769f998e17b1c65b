import { join } from "node:path";
import { startProcess } from "./processes.ts";
import { temporaryFolder } from "./redis-folders.ts";
import { waitFor } from "./wait-for.ts";

/** A program that starts a Redis 8, which has vector sets; without it that half of the semantic cache is not proved. */
export const redis8 = process.env.GLUELLM_TEST_REDIS8;

/** Starts one; returns its socket. It ends with the test file. */
export async function startRedis8(): Promise<string> {
  const socket = join(temporaryFolder(), "redis.sock");
  const server = startProcess(redis8 ?? "", [
    "--port",
    "0",
    "--unixsocket",
    socket,
    "--maxmemory-policy",
    "noeviction",
  ]);
  await waitFor("the server", () => /Ready to accept/.test(server.stdout()));
  return socket;
}
