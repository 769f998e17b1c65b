import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ensureEmbeddedRedis, stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { probeServer } from "../../src/embedded-redis/probe.ts";
import { startTimeOf } from "../../src/shared/process-identity.ts";
import {
  joinInOtherProcess,
  redisOptions,
  serverPid,
  supervisorPid,
  temporaryFolder,
  withClient,
} from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

const set = (socketPath: string, value: string) => withClient(socketPath, (redis) => redis.set("key", value));
const get = (socketPath: string) => withClient(socketPath, (redis) => redis.get("key"));
const isGone = async (socketPath: string) => (await probeServer(socketPath)) === "gone";
const starts = (dataDir: string) =>
  readFileSync(join(dataDir, "redis", "redis.log"), "utf8").match(/ready to accept connections/gi)?.length;

describe("start and join", () => {
  test("the server listens on a private socket only, writes everything down and never evicts", async () => {
    const options = redisOptions();
    const { socketPath } = await ensureEmbeddedRedis(options);

    expect(socketPath).toBe(join(options.dataDir, "redis", "redis.sock"));
    expect(statSync(options.dataDir).mode & 0o777).toBe(0o700);
    expect(statSync(join(options.dataDir, "redis")).mode & 0o777).toBe(0o700);
    const wanted = {
      port: "0",
      appendonly: "yes",
      appendfsync: "everysec",
      "maxmemory-policy": "noeviction",
    };
    for (const [name, value] of Object.entries({ ...wanted, save: "" })) {
      expect(await withClient(socketPath, (redis) => redis.config("GET", name))).toEqual([name, value]);
    }
  });

  test("ten processes that start at once end with one server", async () => {
    const options = redisOptions();
    const sockets = await Promise.all(Array.from({ length: 10 }, () => joinInOtherProcess(options)));

    expect(new Set(sockets).size).toBe(1);
    expect(await serverPid(sockets[0] ?? "")).toBeGreaterThan(0);
    expect(starts(options.dataDir)).toBe(1);
    const leftovers = readdirSync(join(options.dataDir, "redis")).filter((name) => name.startsWith("lock"));
    expect(leftovers).toEqual([]);
  });

  test("two data folders do not share a server", async () => {
    const [one, two] = [redisOptions(), redisOptions()];
    const { socketPath: first } = await ensureEmbeddedRedis(one);
    const { socketPath: second } = await ensureEmbeddedRedis(two);
    await set(first, "of one");
    expect(await get(second)).toBeNull();
  });

  test("a copy of a data folder in use gets a server of its own", async () => {
    const options = redisOptions();
    const { socketPath } = await ensureEmbeddedRedis(options);
    const copy = redisOptions();
    cpSync(options.dataDir, copy.dataDir, { recursive: true, filter: (path) => !path.endsWith(".sock") });
    const { socketPath: copied } = await ensureEmbeddedRedis(copy);
    expect(copied).not.toBe(socketPath);
    expect(await serverPid(copied)).not.toBe(await serverPid(socketPath));
  });

  test("a data folder with a long path gets a short socket path", async () => {
    const runtimeDir = temporaryFolder();
    const long = join(temporaryFolder(), "a".repeat(60), "b b".repeat(20), 'quote" and \\');
    const options = redisOptions({ dataDir: long });
    const { socketPath } = await ensureEmbeddedRedis(options);
    expect(Buffer.byteLength(socketPath)).toBeLessThanOrEqual(100);
    expect(statSync(join(socketPath, "..")).mode & 0o777).toBe(0o700);
    await set(socketPath, "kept");
    expect(await stopEmbeddedRedis(options)).toBe(true);
    const other = { ...options, system: { ...options.system, runtimeDir } };
    const { socketPath: again } = await ensureEmbeddedRedis(other);
    expect(await get(again)).toBe("kept");
    // Who has another runtime folder finds the same server.
    expect(await ensureEmbeddedRedis(options)).toEqual({ socketPath: again });
  });
});

describe("end", () => {
  test("data survives stop and start", async () => {
    const options = redisOptions();
    const { socketPath } = await ensureEmbeddedRedis(options);
    await set(socketPath, "kept");
    expect(await stopEmbeddedRedis(options)).toBe(true);
    expect(await isGone(socketPath)).toBe(true);
    expect(await stopEmbeddedRedis(options)).toBe(false);
    expect(await get((await ensureEmbeddedRedis(options)).socketPath)).toBe("kept");
  });

  test("it ends when idle, not while somebody is connected", async () => {
    const options = redisOptions({ idleShutdownMs: 250 });
    const { socketPath } = await ensureEmbeddedRedis(options);
    const server = await serverPid(socketPath);
    const supervisor = supervisorPid(options.dataDir);
    await withClient(socketPath, async (redis) => {
      const connectedAt = performance.now();
      await waitFor("three idle times", () => performance.now() - connectedAt > 750);
      expect(await redis.ping()).toBe("PONG");
    });
    for (const pid of [server, supervisor]) {
      await waitFor("the idle shutdown", () => startTimeOf(pid) === undefined);
    }
    await expect(ensureEmbeddedRedis(options)).resolves.toEqual({ socketPath });
  });

  test("a server ended by kill -9 is started again with its data", async () => {
    const options = redisOptions();
    const { socketPath } = await ensureEmbeddedRedis(options);
    await withClient(socketPath, (redis) => redis.config("SET", "appendfsync", "always"));
    await set(socketPath, "kept");
    const killed = await serverPid(socketPath);
    const supervisor = supervisorPid(options.dataDir);
    process.kill(killed, "SIGKILL");

    expect(await get((await ensureEmbeddedRedis(options)).socketPath)).toBe("kept");
    expect(await serverPid(socketPath)).not.toBe(killed);
    expect(supervisorPid(options.dataDir)).not.toBe(supervisor);
  });

  test("a server whose supervisor was ended by kill -9 is adopted, and still ends when idle", async () => {
    const options = redisOptions({ idleShutdownMs: 300 });
    const { socketPath } = await ensureEmbeddedRedis({ ...options, idleShutdownMs: 60_000 });
    const server = await serverPid(socketPath);
    const supervisor = supervisorPid(options.dataDir);
    process.kill(supervisor, "SIGKILL");
    await waitFor("the supervisor's end", () => startTimeOf(supervisor) === undefined);

    expect(await ensureEmbeddedRedis(options)).toEqual({ socketPath });
    expect(await serverPid(socketPath)).toBe(server);
    expect(supervisorPid(options.dataDir)).not.toBe(supervisor);
    await waitFor("the idle shutdown", () => startTimeOf(server) === undefined);
  });

  test("stop ends a server without a supervisor too", async () => {
    const options = redisOptions();
    const { socketPath } = await ensureEmbeddedRedis(options);
    const supervisor = supervisorPid(options.dataDir);
    process.kill(supervisor, "SIGKILL");
    await waitFor("the supervisor's end", () => startTimeOf(supervisor) === undefined);
    expect(await stopEmbeddedRedis(options)).toBe(true);
    expect(await isGone(socketPath)).toBe(true);
  });
});

test("a server whose folder was deleted ends when idle", async () => {
  const options = redisOptions({ idleShutdownMs: 200 });
  const { socketPath } = await ensureEmbeddedRedis(options);
  const server = await serverPid(socketPath);
  rmSync(options.dataDir, { recursive: true });
  await waitFor("the idle shutdown", () => startTimeOf(server) === undefined);
});

describe("faults", () => {
  test("a data folder that cannot be written is named", async () => {
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    const options = { ...redisOptions(), dataDir: join(file, "data") };
    await expect(ensureEmbeddedRedis(options)).rejects.toMatchObject({
      code: "data_folder_unusable",
      category: "configuration",
      message: expect.stringContaining(options.dataDir),
      hint: expect.stringContaining("GLUELLM_DATA_DIR"),
    });
  });

  test("a socket folder that others may enter is refused", async () => {
    const runtimeDir = temporaryFolder();
    const options = redisOptions({ dataDir: join(temporaryFolder(), "a".repeat(100)) });
    const short = { ...options, system: { ...options.system, runtimeDir } };
    const { socketPath } = await ensureEmbeddedRedis(short);
    expect(await stopEmbeddedRedis(short)).toBe(true);
    expect(readdirSync(runtimeDir)).toEqual([]);

    mkdirSync(dirname(socketPath), { mode: 0o755 });
    await expect(ensureEmbeddedRedis(short)).rejects.toMatchObject({ code: "socket_folder_unsafe" });
  });

  test("a server that refuses to start is quoted", async () => {
    const options = redisOptions();
    const folder = join(options.dataDir, "redis", "appendonlydir");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "appendonly.aof.manifest"), "no manifest at all\n");
    // Before version 7 the file was one, and lay elsewhere.
    writeFileSync(join(options.dataDir, "redis", "appendonly.aof"), "no commands at all\r\n");
    await expect(ensureEmbeddedRedis(options)).rejects.toMatchObject({
      code: "redis_start_failed",
      message: expect.stringMatching(/exited with code 1\n.*(manifest|AOF|append only file)/is),
    });
    rmSync(join(options.dataDir, "redis"), { recursive: true });
    await expect(ensureEmbeddedRedis(options)).resolves.toBeDefined();
  });
});
