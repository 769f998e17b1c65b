import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type ServerBinary, serverEnvironment } from "../../src/embedded-redis/server-binary.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { startProcess } from "./processes.ts";
import { temporaryFolder } from "./redis-folders.ts";
import { freePort, type RedisServer, redisAt, startRedisServer, usualServer } from "./redis-server.ts";
import { waitFor } from "./wait-for.ts";

/** Servers of which one has the namespace, and another one takes over when that is killed. */
export interface RedisGroup {
  url: string;
  /** Kills the one that has it, and returns once another one has. */
  failOver(): Promise<void>;
  /** The same as an operator plans it: the one that had it is its replica afterwards. */
  switchOver(): Promise<void>;
}

const AOF = { appendonly: "yes" };
const NAME = "main";
/** Short for a test, long for a busy machine. */
const DOWN_MS = 3000;

/** A primary, a replica, and so many Sentinels that watch them; all of them end with the test. */
export async function startSentinels(
  count = 3,
  settings: Record<string, string> = {},
  program?: ServerBinary,
): Promise<RedisGroup> {
  const primary = await startRedisServer({ ...AOF, ...settings }, program);
  const ofReplica = {
    ...{ ...AOF, ...settings, replicaof: `127.0.0.1 ${primary.port}` },
    ...(settings.requirepass !== undefined && { masterauth: settings.requirepass }),
  };
  const replica = await startRedisServer(ofReplica, program);
  const password = settings.requirepass === undefined ? "" : `:${settings.requirepass}@`;
  const at = (port: number) => redisAt(`redis://${password}127.0.0.1:${port}`);
  await waitFor("the replica", async () => /state=online/.test(await at(primary.port).info("replication")));
  const ports: number[] = [];
  for (let n = 0; n < count; n++)
    ports.push(await startSentinel(primary.port, Math.floor(count / 2) + 1, settings, program));
  const asked = redisAt(`redis://127.0.0.1:${ports[0]}`);
  const primaryPort = async () => {
    const [, port] = (await asked.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)) as string[];
    return Number(port);
  };
  await waitFor("the sentinels", async () => {
    const masters = (await asked.call("SENTINEL", "MASTERS")) as string[][] | Record<string, string>[];
    const told = JSON.stringify(masters);
    return (
      new RegExp(`"num-other-sentinels"[,:]"${count - 1}"`).test(told) && /"num-slaves"[,:]"1"/.test(told)
    );
  });
  const tookOver = async () => {
    await waitFor("another primary", async () => (await primaryPort()) === replica.port);
    await waitFor("its role", async () => /role:master/.test(await at(replica.port).info("replication")));
  };
  return {
    url: `redis+sentinel://${password}${ports.map((port) => `127.0.0.1:${port}`).join(",")}/${NAME}`,
    async failOver() {
      primary.child.kill("SIGKILL");
      await tookOver();
    },
    async switchOver() {
      await asked.call("SENTINEL", "FAILOVER", NAME);
      await tookOver();
    },
  };
}

async function startSentinel(
  primaryPort: number,
  quorum: number,
  { requirepass }: Record<string, string>,
  program: ServerBinary | undefined,
): Promise<number> {
  const folder = temporaryFolder();
  const port = await freePort();
  const lines = [
    ...[`port ${port}`, `dir ${folder}`, `sentinel monitor ${NAME} 127.0.0.1 ${primaryPort} ${quorum}`],
    ...[
      `sentinel down-after-milliseconds ${NAME} ${DOWN_MS}`,
      `sentinel failover-timeout ${NAME} ${10 * DOWN_MS}`,
    ],
    ...(requirepass === undefined ? [] : [`sentinel auth-pass ${NAME} ${requirepass}`]),
  ];
  const path = join(folder, "sentinel.conf");
  writeFileSync(path, `${lines.join("\n")}\n`);
  const found = program ?? (await usualServer());
  const { child, stdout } = startProcess(found.path, [path, "--sentinel"], {
    env: serverEnvironment(found.libraryPath),
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await waitFor("the sentinel", () => /Sentinel ID is/.test(stdout()));
  return port;
}

/** Three primaries of a cluster, and a replica of the one that has the namespace; all of them end with the test. */
export async function startCluster(
  namespace: string,
  settings: Record<string, string> = {},
): Promise<RedisGroup> {
  const nodes: RedisServer[] = [];
  for (let n = 0; n < 4; n++)
    nodes.push(
      await startRedisServer({
        ...{ ...AOF, ...settings, "cluster-enabled": "yes", "cluster-node-timeout": String(DOWN_MS) },
        // By default 10,000 higher, which may be none.
        ...{ "cluster-port": String(await freePort()), "cluster-config-file": "nodes.conf" },
        ...{ "cluster-replica-validity-factor": "0", "cluster-announce-hostname": "" },
      }),
    );
  const password = settings.requirepass === undefined ? "" : `:${settings.requirepass}@`;
  const clients = nodes.map(({ port }) => redisAt(`redis://${password}127.0.0.1:${port}`));
  const [first, second, third, fourth] = clients;
  if (!first || !second || !third || !fourth) throw new Error("four nodes");
  for (const [n, client] of [first, second, third].entries()) {
    const [from, to] = [Math.ceil((n * 16_384) / 3), Math.ceil(((n + 1) * 16_384) / 3) - 1];
    await client.call("CLUSTER", "ADDSLOTSRANGE", from, to);
    await client.call("CLUSTER", "SET-CONFIG-EPOCH", n + 1);
  }
  const busPorts = await Promise.all(
    clients.map(async (client) => ((await client.config("GET", "cluster-port")) as string[])[1] ?? ""),
  );
  for (const [n, { port }] of nodes.entries())
    if (n > 0) await first.call("CLUSTER", "MEET", "127.0.0.1", port, busPorts[n] ?? "");
  const isWhole = async (client: typeof first) => {
    const told = String(await client.call("CLUSTER", "INFO"));
    return /cluster_state:ok/.test(told) && /cluster_known_nodes:4/.test(told);
  };
  for (const client of [first, second, third]) await waitFor("the cluster", () => isWhole(client));
  const slot = Number(await first.call("CLUSTER", "KEYSLOT", redisKeys(namespace).prefix));
  const n = Math.floor((slot * 3) / 16_384);
  const [owner, ownersClient] = [nodes[n], clients[n]];
  if (!owner || !ownersClient) throw new Error("an owner");
  const id = String(await ownersClient.call("CLUSTER", "MYID"));
  await waitFor("the nodes' acquaintance", () =>
    fourth.call("CLUSTER", "REPLICATE", id).then(Boolean, () => false),
  );
  await waitFor("the replica", async () => /state=online/.test(await ownersClient.info("replication")));
  const others = nodes.filter((node) => node !== owner && node !== nodes[3]);
  const tookOver = async () => {
    await waitFor("another primary", async () => /role:master/.test(await fourth.info("replication")));
    await waitFor("the cluster", () => isWhole(fourth));
  };
  return {
    url: `redis+cluster://${password}${others.map(({ port }) => `127.0.0.1:${port}`).join(",")}`,
    async failOver() {
      owner.child.kill("SIGKILL");
      await tookOver();
    },
    async switchOver() {
      await fourth.call("CLUSTER", "FAILOVER");
      await tookOver();
      await waitFor("the other role", async () => /role:slave/.test(await ownersClient.info("replication")));
    },
  };
}
