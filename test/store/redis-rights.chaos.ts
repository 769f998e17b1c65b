import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { redisAt, startRedisServer } from "../support/redis-server.ts";
import { restClient } from "../support/rest-client.ts";
import { serveApi } from "../support/served-api.ts";
import { CLAUDE_MODEL, MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const TLS = join(import.meta.dirname, "../fixtures/tls");
const CERT = join(TLS, "cert.pem");
const DOCS = readFileSync(join(import.meta.dirname, "../../docs/redis.md"), "utf8");
const PRICES = JSON.stringify({ "*": { inputPerMillion: 1000, outputPerMillion: 1000 } });

test("by TLS, as the docs' user with the least rights: API, keys, users, tenants and their limits, lanes, schedules, webhooks, dead letters", async () => {
  const { port } = await startRedisServer({
    ...{ "tls-cert-file": CERT, "tls-key-file": join(TLS, "key.pem"), "tls-ca-cert-file": CERT },
    "tls-auth-clients": "no",
  });
  const admin = redisAt(`rediss://localhost:${port}`, { tls: { ca: readFileSync(CERT) } });
  const rights = /ACL SETUSER gluellm on >PASSWORD (.*)/.exec(DOCS)?.[1] ?? "";
  await admin.call("ACL", "SETUSER", "gluellm", "on", ">PASSWORD", ...rights.split(" "));
  await admin.call("ACL", "SETUSER", "default", "resetpass", "off");
  const served = await serveApi(
    { batchSpeed: 1000 },
    {
      ...{ GLUELLM_REDIS_URL: `rediss://gluellm:PASSWORD@localhost:${port}`, GLUELLM_NAMESPACE: "default" },
      ...{ NODE_EXTRA_CA_CERTS: CERT, GLUELLM_LANE_POLL_MS: "50", GLUELLM_LANE_RESERVE_MS: "1000" },
      ...{ GLUELLM_PRICES: PRICES, GLUELLM_WEBHOOK_ALLOW_PRIVATE: "true", GLUELLM_HISTORY: "true" },
    },
  );
  const { site, baseURL, apiKey } = served;
  onTestFinished(() => site[Symbol.asyncDispose]());
  const said = () => served.process.stderr() + served.process.stdout();
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await site.run(...args);
    expect([args, code, stderr]).toEqual([args, 0, expect.not.stringContaining("NOPERM")]);
    return stdout;
  };
  await run(
    "tenants",
    "set",
    "acme",
    "--weight",
    "2",
    "--rpm",
    "6000",
    "--max-queued-jobs",
    "50",
    "--max-usd-per-day",
    "5",
  );
  await run("users", "set", "ada@example.org", "--role", "viewer");
  const { key } = JSON.parse(
    await run("keys", "create", "--tenant", "acme", "--role", "admin", "--max-usd-per-month", "5", "--json"),
  );
  const url = baseURL.replace(/\/v1$/, "");
  const acme = restClient(url, { authorization: `Bearer ${key}` });
  const operator = restClient(url, { authorization: `Bearer ${apiKey}` });

  const answers = await Promise.all(
    [acme, acme, operator].map((client, n) =>
      client("POST", "/v1/chat/completions", {
        model: MODEL,
        messages: [{ role: "user", content: `question ${n}` }],
      }),
    ),
  );
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  const { body: job } = await acme("POST", "/api/jobs", {
    message: '#sim {"error":"400"}\nno',
    conversation: "talk",
  });
  expect((await acme("GET", `/api/jobs/${job.id}/result?waitMs=60000`)).body.state).toBe("failed");
  expect((await acme("POST", "/api/webhooks", { url: "http://127.0.0.1:9/", events: ["*"] })).status).toBe(
    201,
  );
  expect(
    (await acme("POST", "/api/schedules", { id: "s", completion: "ping", everyMs: 3_600_000 })).status,
  ).toBeLessThan(300);
  for (const path of [
    "queues",
    "limits",
    "workers",
    "errors",
    "tenants",
    "keys",
    "users",
    "usage",
    "run-search",
    "dead-letters",
  ])
    expect([path, (await operator("GET", `/api/${path}`)).status]).toEqual([path, 200]);

  site.write("in.jsonl", site.rows(8));
  site.simulator.setBatches({ durationMs: 2000 });
  await run("batch", "run", "in.jsonl", "-o", "by.jsonl", "-m", CLAUDE_MODEL, "--by", "2h");
  await run("batch", "run", "in.jsonl", "-o", "online.jsonl", "-m", MODEL);
  await run("dlq", "list");
  await run("queues");
  await run("tenants", "usage");
  await waitFor("the history", async () => (await run("history", "jobs", "--json")).includes(job.id));
  expect(said()).not.toContain("NOPERM");
  const denied = JSON.stringify(await redisDenials(admin));
  expect(denied).not.toContain("gluellm");
});

/** What Redis refused to the user. */
async function redisDenials(admin: ReturnType<typeof redisAt>): Promise<unknown> {
  return admin.call("ACL", "LOG", 100);
}
