import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../support/redis-folders.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* What an operator reads on a terminal of what has ended, of who did what, and of who may do it. */

const MODULE = join(import.meta.dirname, "../support/cli-workflows.ts");

test("gluellm history: each report as a table and as JSON", { tags: "long" }, async () => {
  await using site = await openSite();
  const run = (...args: string[]) => site.run(...args);
  const rows = site.rows(3, (n) => (n === 2 ? 'question 2\n#sim {"status": 400}' : `question ${n}`));
  site.write("in.jsonl", rows);
  expect((await run(...site.batch())).code).toBe(1);
  site.write("pipeline.json", [{ stages: [{ name: "draft", agent: "writer" }] }]);
  const ran = await run(
    ...["workflow", "run", "pipeline", "--config", "pipeline.json", "--module", MODULE, "--input", "tides"],
    ...["-m", MODEL, "--json"],
  );
  expect([ran.code, ran.stderr]).toEqual([0, expect.not.stringContaining("rror")]);
  const { id } = JSON.parse(ran.stdout) as { id: string };
  expect((await run("history", "backfill")).stdout).toMatch(/^\d jobs?, 1 run and 1 batch of Redis are in/);

  const tables: [words: string[], head: RegExp, row: RegExp][] = [
    [["spend", "--by", "model"], /^MODEL +CALLS +PROMPT TOKENS/, new RegExp(`^${MODEL} +2 .* unpriced`, "m")],
    [["latency"], /^MODEL +CALLS +CALL P50 \/ P95 \/ P99/, / ms \/ /],
    [["failures", "--by", "code"], /^CODE +COUNT +LAST/, /^invalid_request +1 .* job /m],
    [["cache"], /^(MODEL +)?ANSWERS +FROM THE CACHE/, /0 \(0\.0 %\)/],
    [["runs", "--by", "workflow"], /^WORKFLOW +RUNS +SUCCEEDED/, /^pipeline +1 +1 +0 +0 /m],
    [["slowest", "--of", "runs"], /^TOOK +OF +ID/, new RegExp(`pipeline.* ${id} `)],
    [["batches"], /^BATCH +STATE +CREATED/, /^batch_\S+ .* 3 +1 .*in\.jsonl/m],
    [
      ["jobs", "--state", "failed"],
      /^JOB +STATE +MODEL/,
      /failed: invalid_request +simulator:test .*question 2/,
    ],
    [["run", id], new RegExp(`^pipeline@\\S+ ${id}: succeeded after `), /^draft +\S+.* succeeded/m],
    [["status"], /^sqlite at /, /^\d ends? waits? for it/m],
  ];
  for (const [words, head, row] of tables) {
    const told = await run("history", ...words);
    expect([words, told.code, told.stderr]).toEqual([words, 0, ""]);
    expect(told.stdout).toMatch(head);
    expect(told.stdout).toMatch(row);
    const asJson = await run("history", ...words, "--json");
    expect(Object.keys(JSON.parse(asJson.stdout)).length).toBeGreaterThan(0);
  }
  expect((await run("history", "spend", "--tenant", "nobody")).stdout).toMatch(/^nothing in this time/);
  const unknown = await run("history", "run", "run-none");
  expect([unknown.code, unknown.stderr]).toEqual([
    2,
    expect.stringContaining("the history has no run run-none"),
  ]);
});

test("gluellm users: a role is given, shown and taken away", { tags: "long" }, async () => {
  await using site = await openSite();
  const run = (...args: string[]) => site.run(...args);
  expect((await run("users", "list")).stdout).toMatch(/^no user has a role/);
  const given = await run("users", "set", "ada@example.org", "--role", "viewer", "--tenant", "red");
  expect([given.code, given.stdout]).toEqual([0, "ada@example.org: viewer of the tenant red\n"]);
  const wrong = await run("users", "set", "ada@example.org", "--role", "king");
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("viewer")]);
  expect((await run("users", "list")).stdout).toMatch(/^ada@example\.org +viewer +red$/m);
  const users = JSON.parse((await run("users", "list", "--json")).stdout);
  expect(users).toMatchObject([{ user: "ada@example.org", role: "viewer", tenant: "red" }]);
  expect((await run("users", "remove", "ada@example.org")).code).toBe(0);
  const again = await run("users", "remove", "ada@example.org");
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("has no role")]);
});

test("gluellm audit: who did what, whether it is sound, and its end", { tags: "long" }, async () => {
  await using site = await openSite({ GLUELLM_AUDIT_KEY: "0123456789abcdef0123456789abcdef" });
  const run = (...args: string[]) => site.run(...args);
  expect((await run("audit", "off")).stdout).toBe("acts were not written down\n");
  site.start("worker");
  await waitFor("the audit", async () => JSON.parse((await run("audit", "status", "--json")).stdout).since);
  await run("users", "set", "ada@example.org", "--role", "viewer");
  await waitFor("the entry", async () =>
    (await run("audit", "list", "--actor", "cli:", "--action", "users")).stdout.includes("done"),
  );
  const acts = await run("audit", "list", "--since", "1h");
  expect(acts.stdout).toMatch(/^entry +at +who +role/);
  expect(acts.stdout).toMatch(/ cli:\S+ +owner .*gluellm users set +ada@example\.org +done$/m);
  const [act] = JSON.parse((await run("audit", "list", "--target", "ada", "--json")).stdout);
  expect(act).toMatchObject({ action: "gluellm users set", target: "ada@example.org", outcome: "done" });

  const sound = await run("audit", "verify");
  expect([sound.code, sound.stdout]).toEqual([0, expect.stringContaining("the chain is sound")]);
  const [, end = ""] = /kept elsewhere: (\S+)/.exec(sound.stdout) ?? [];
  expect((await run("audit", "verify", "--expect", end)).code).toBe(0);
  const later = end.replace(/^\d+/, "999");
  const lowered = await run("audit", "verify", "--expect", later, "--json");
  expect([lowered.code, JSON.parse(lowered.stdout).faults]).toMatchObject([1, [{ kind: "lowered" }]]);
  const odd = await run("audit", "verify", "--expect", "6:short");
  expect([odd.code, odd.stderr]).toEqual([2, expect.stringContaining("is no end of a chain")]);
  const keyless = site.startWith({ GLUELLM_AUDIT_KEY: "" }, "audit", "verify");
  expect([await keyless.exit, keyless.stderr()]).toEqual([3, expect.stringContaining("GLUELLM_AUDIT_KEY")]);
  expect((await run("audit", "status")).stdout).toMatch(/^on since /);
  expect((await run("audit", "off")).stdout).toBe("acts are not written down any more\n");
});

/** With a data folder, and so a database, of this test's own. */
function openSite(env: Record<string, string> = {}): Promise<TestSite> {
  const answer = ({ model }: { model: string }) => (model === "writer" ? { reply: "a draft" } : undefined);
  return TestSite.open(
    { answer },
    {
      GLUELLM_HISTORY: "true",
      GLUELLM_DEFAULT_MODEL: MODEL,
      GLUELLM_DATA_DIR: temporaryFolder(),
      ...env,
    },
  );
}
