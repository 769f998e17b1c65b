import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { startSimulator } from "../../src/simulator/simulator.ts";
import { checkRedis } from "../../src/store/check-redis.ts";
import { redisTarget } from "../../src/store/redis-target.ts";
import { runCli } from "../support/cli.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { startSentinels } from "../support/redis-groups.ts";
import { freePort, redisAt, startRedisServer } from "../support/redis-server.ts";
import { waitFor } from "../support/wait-for.ts";

const PREFIX = "{gluellm:default}";
const TLS = join(import.meta.dirname, "../fixtures/tls");
const WORKFLOWS = join(import.meta.dirname, "../support/cli-workflows.ts");
const DOCS = readFileSync(join(import.meta.dirname, "../../docs/redis.md"), "utf8");

/** What the check says of a URL, as a user sees it: code, cause, remedy; and what it logs. */
async function verdictOn(url: string) {
  const lines: string[] = [];
  const logger = pino({ level: "warn" }, { write: (line: string) => lines.push(line) });
  const thrown = await checkRedis(redisTarget(url, "default"), { prefix: PREFIX, logger }).then(
    () => undefined,
    (error: Error & { code: string; hint: string }) => error,
  );
  const said = `${thrown?.code ?? "fine"}: ${thrown?.message ?? ""} -> ${thrown?.hint ?? ""}`;
  return { said, logged: lines.join("\n") };
}

/** The docs' table has the row, cause and remedy included. */
function expectDocumented(said: string): void {
  const [, code = "", message = ""] = /^(\w+): Redis at \S+ (.*) -> /.exec(said) ?? [];
  const rows = DOCS.split("\n").filter((line) => line.startsWith(`| \`${code}\``));
  expect(rows.map((row) => row.split(" | ")[1]).join("\n"), said).toContain(
    message.split(/ \(| run | use our /)[0],
  );
}

test("a Redis that is not there, or speaks otherwise", async () => {
  const [plain, tls] = await Promise.all([
    startRedisServer(),
    startRedisServer({
      "tls-cert-file": join(TLS, "cert.pem"),
      "tls-key-file": join(TLS, "key.pem"),
      "tls-ca-cert-file": join(TLS, "cert.pem"),
      "tls-auth-clients": "no",
    }),
  ]);
  const nobody = await freePort();
  const secret = "hunter2";
  for (const [url, expected] of [
    [
      `redis://:${secret}@127.0.0.1:${nobody}`,
      `redis_unreachable: Redis at 127.0.0.1:${nobody} does not answer: nothing listens there`,
    ],
    [
      `redis://:${secret}@nowhere.invalid`,
      "redis_unreachable: Redis at nowhere.invalid:6379 does not answer: no machine has this name",
    ],
    [`rediss://:${secret}@127.0.0.1:${plain.port}`, "does not speak TLS, or does not answer"],
    [`redis://:${secret}@127.0.0.1:${tls.port}`, "closes the connection: it may expect TLS"],
    [
      `rediss://:${secret}@localhost:${tls.port}`,
      `redis_certificate: Redis at localhost:${tls.port} shows a certificate that is not trusted`,
    ],
    [
      `redis://127.0.0.1:${plain.port}/99`,
      `redis_no_database: Redis at 127.0.0.1:${plain.port} does not have the database that the URL names`,
    ],
  ] as const) {
    const { said } = await verdictOn(url);
    expect(said).toContain(expected);
    expect(said).not.toContain(secret);
    expectDocumented(said);
  }
  expect((await verdictOn(`redis://127.0.0.1:${plain.port}/3`)).said).toMatch(/^fine/);
});

test("a Redis that answers and cannot be used", async () => {
  const { port, folder } = await startRedisServer();
  const url = `redis://127.0.0.1:${port}`;
  const admin = redisAt(url);
  /** The verdict while the server is so, and how it is mended. */
  const whileItIs = async (set: readonly string[], mend: readonly string[], asUser = url) => {
    const [command = "", ...args] = set;
    await admin.call(command, ...args);
    const seen = await verdictOn(asUser);
    const [mending = "", ...mendings] = mend;
    await admin.call(mending, ...mendings);
    return seen;
  };
  const cases = [
    [
      "redis_replica",
      "is a replica, which takes no writes",
      ["REPLICAOF", "127.0.0.1", "1"],
      ["REPLICAOF", "NO", "ONE"],
    ],
    [
      "redis_evicts",
      "evicts keys",
      ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"],
      ["CONFIG", "SET", "maxmemory-policy", "noeviction"],
    ],
  ] as const;
  for (const [code, says, set, mend] of cases) {
    const { said } = await whileItIs(set, mend);
    expect(said).toContain(`${code}: Redis at 127.0.0.1:${port} ${says}`);
    expectDocumented(said);
  }

  const locked = ["CONFIG", "SET", "requirepass", "s3cret-word"] as const;
  const open = ["CONFIG", "SET", "requirepass", ""] as const;
  for (const [who, says] of [
    ["", "wants a password"],
    [":wrong-word@", "refuses this user name or password"],
    ["nobody:s3cret-word@", "refuses this user name or password"],
  ]) {
    const { said } = await whileItIs(locked, open, `redis://${who}127.0.0.1:${port}`);
    expect(said).toContain(`redis_auth: Redis at 127.0.0.1:${port} ${says}`);
    expect(said).not.toMatch(/s3cret|wrong-word/);
    expectDocumented(said);
  }

  for (const [rights, says] of [
    ["+@all -set ~* &*", "run SET"],
    ["+@all -info ~* &*", "run INFO"],
    ["+@all ~other* &*", "use our keys"],
    ["+@all ~* resetchannels", "use our channels"],
  ] as const) {
    const set = ["ACL", "SETUSER", "poor", "on", ">word", ...rights.split(" ")];
    const { said } = await whileItIs(set, ["ACL", "DELUSER", "poor"], `redis://poor:word@127.0.0.1:${port}`);
    expect(said).toContain(`redis_no_permission: Redis at 127.0.0.1:${port} does not let this user ${says}`);
    expectDocumented(said);
  }

  // What passes is said, and waited for.
  const full = await whileItIs(["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]);
  expect(full.said).toMatch(/^fine/);
  expect(full.logged).toContain(`Redis at 127.0.0.1:${port} has no memory left (maxmemory)`);
  await admin.config("SET", "save", "1 1");
  rmSync(folder, { recursive: true });
  await admin.set("any", 1);
  await admin.bgsave().catch(() => {});
  await waitFor("the failed save", async () =>
    /rdb_last_bgsave_status:err/.test(await admin.info("persistence")),
  );
  const disk = await verdictOn(url);
  expect(disk.said).toMatch(/^fine/);
  expect(disk.logged).toContain("cannot save to its disk");
});

test("a Redis Cluster", async () => {
  const { port } = await startRedisServer({ "cluster-enabled": "yes" });
  for (const database of ["", "/3"]) {
    const { said } = await verdictOn(`redis://127.0.0.1:${port}${database}`);
    expect(said).toContain("redis_cluster: ");
    expect(said).toContain("is a Redis Cluster");
    expect(said).toContain("redis+cluster://");
    expectDocumented(said);
  }
  const whole = redisAt(`redis://127.0.0.1:${port}`);
  await whole.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383);
  await waitFor("the cluster", async () =>
    /cluster_state:ok/.test(String(await whole.call("CLUSTER", "INFO"))),
  );
  expect((await verdictOn(`redis+cluster://127.0.0.1:${port}`)).said).toMatch(/^fine/);
});

test("a group of servers that is not there, or is something else", async () => {
  const { port } = await startRedisServer();
  const sentinels = await startSentinels(1);
  const nobody = await freePort();
  const { said: wrongName } = await verdictOn(sentinels.url.replace(/main$/, "other"));
  expect(wrongName).toContain("redis_sentinel: ");
  expect((await verdictOn(sentinels.url)).said).toMatch(/^fine/);
  for (const [url, expected] of [
    [
      `redis+cluster://:hunter2@127.0.0.1:${nobody}`,
      `redis_unreachable: Redis at 127.0.0.1:${nobody} does not answer`,
    ],
    [`redis+cluster://127.0.0.1:${port}`, `redis_cluster: Redis at 127.0.0.1:${port} is no Redis Cluster`],
    [
      `redis+sentinel://127.0.0.1:${nobody}/main`,
      `redis_unreachable: Redis at 127.0.0.1:${nobody} does not answer`,
    ],
    [`redis+sentinel://127.0.0.1:${port}/main`, `redis_sentinel: Redis at 127.0.0.1:${port} is no Sentinel`],
  ] as const) {
    const { said } = await verdictOn(url);
    expect(said).toContain(expected);
    expect(said).not.toContain("hunter2");
    expectDocumented(said);
  }
  expectDocumented(wrongName);
});

test("a user with the least rights of the docs runs workers, batches and workflows", {
  tags: "long",
}, async () => {
  const { port } = await startRedisServer();
  const rights = /ACL SETUSER gluellm on >PASSWORD (.*)/.exec(DOCS)?.[1] ?? "";
  await redisAt(`redis://127.0.0.1:${port}`).call(
    "ACL",
    "SETUSER",
    "gluellm",
    "on",
    ">PASSWORD",
    ...rights.split(" "),
  );
  const simulator = await startSimulator({ latencyMs: 5, jitterMs: 0 });
  onTestFinished(() => simulator.close());
  const folder = temporaryFolder();
  writeFileSync(join(folder, "tides.json"), '{"topic": "tides"}');
  writeFileSync(join(folder, "in.jsonl"), '{"prompt": "one"}\n{"prompt": "two"}\n');
  const env = {
    GLUELLM_REDIS_URL: `redis://gluellm:PASSWORD@127.0.0.1:${port}`,
    SIMULATOR_BASE_URL: `${simulator.url}/v1`,
    GLUELLM_LIMITS: '{"simulator:*": {"rpm": 60000, "maxInFlight": 4}}',
  };
  for (const command of [
    ["batch", "run", "in.jsonl", "-o", "out.jsonl", "-m", "simulator:m"],
    ["workflow", "run", "facts", "-m", "simulator:m", "--config", "tides.json", "--module", WORKFLOWS],
    ["queues"],
    ["batch", "list"],
  ]) {
    const { code, stderr } = await runCli(command, env, folder);
    expect({ command, code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.not.stringContaining("NOPERM"),
    });
  }
});
