import { randomBytes } from "node:crypto";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { testRedis } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());
const ROWS = 5;

test("a batch that began before encryption buys no row again; of one that began with it Redis has no id of a row", {
  tags: "long",
}, async () => {
  const site = await TestSite.open({}, { GLUELLM_ENCRYPTION_KEYS: "" });
  onTestFinished(() => site[Symbol.asyncDispose]());
  const withKeys = { GLUELLM_ENCRYPTION_KEYS: `one:${randomBytes(32).toString("base64")}` };
  const { prefix } = redisKeys(site.namespace);
  const jobs = async () =>
    (await redis.keys(`${prefix}:completions.*`)).flatMap((key) => /:(batch_\w+-\w+)$/.exec(key)?.[1] ?? []);
  const run = (env: Record<string, string>, name: string, ...more: string[]) =>
    site.startWith(env, "batch", "run", `${name}.jsonl`, "-o", `${name}.out.jsonl`, "-m", MODEL, ...more);
  /** The ids of the jobs of a batch whose runner was killed once all of its rows were in Redis. */
  const abandoned = async (env: Record<string, string>, name: string) => {
    site.write(
      `${name}.jsonl`,
      site.rows(ROWS, (n) => `${name} ${n}`),
    );
    const before = new Set(await jobs());
    const added = async () => (await jobs()).filter((id) => !before.has(id));
    const runner = run(env, name, "--workers", "0");
    await waitFor("all rows", async () => (await added()).length === ROWS);
    runner.child.kill("SIGKILL");
    await runner.exit;
    return added();
  };
  const rowIds = (name: string) =>
    site.read(`${name}.out.jsonl`).map(({ id }) => String(id).replace("batch_req_", ""));
  const namesOf = (jobIds: string[]) => jobIds.map((id) => id.replace(/^batch_\w+-/, "")).sort();

  const plain = await abandoned({}, "before");
  const masked = await abandoned(withKeys, "with");
  site.startWith(withKeys, "worker");
  await waitFor("all answers", () => site.paidCalls().size === 2 * ROWS);
  for (const name of ["before", "with"]) {
    const { exit, stderr } = run(withKeys, name);
    expect([await exit, stderr()]).toEqual([0, expect.stringContaining(`${ROWS} of ${ROWS} rows succeeded`)]);
  }
  expect(site.repeatedCalls()).toBe(0);
  expect(namesOf(plain)).toEqual(rowIds("before").sort());
  expect(namesOf(masked).filter((id) => rowIds("with").includes(id))).toEqual([]);
});
