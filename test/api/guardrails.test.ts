import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../support/cli.ts";
import { restClient } from "../support/rest-client.ts";
import { type ServedApi, startServer } from "../support/served-api.ts";
import { TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

/* Where guardrails hold beside calls: batches and runs, by what they say themselves and by the key that asks. */

const MODULE = join(import.meta.dirname, "../support/guarded-workflow.ts");

let api: ServedApi;
let key: ReturnType<typeof restClient>;
let token: string;
beforeAll(async () => {
  const site = await TestSite.open({}, { GLUELLM_DEFAULT_MODEL: "simulator:test" });
  site.start("worker", "--module", MODULE);
  api = { site, ...(await startServer(site, "--module", MODULE)) };
  const made = await api.site.run("keys", "create", "--guardrail", "pii", "--json");
  token = JSON.parse(made.stdout).key;
  key = restClient(url(), { authorization: `Bearer ${token}` });
});
afterAll(() => api.site[Symbol.asyncDispose]());

const url = () => api.baseURL.replace(/\/v1$/, "");
const askedOf = (start: string) =>
  api.site.simulator.journal
    .entries()
    .filter(({ lastUserText }) => lastUserText.startsWith(start))
    .map(({ lastUserText, lane }) => [lastUserText, lane]);

test("a batch of the command line: rewritten or blocked row by row, online whatever its deadline", async () => {
  const { site } = api;
  site.write("in.jsonl", [
    { prompt: "row of ada@example.org" },
    { prompt: `row ${"that is long ".repeat(9)}` },
  ]);
  const guardrails = ["--guardrail", "pii", "--guardrail", "short"];
  const run = await site.run(...site.batch("--workers", "0", "--by", "6h", ...guardrails));
  expect([run.code, run.stderr]).toEqual([1, expect.stringContaining("1 of 2 rows succeeded, 1 failed")]);
  expect(askedOf("row")).toEqual([["row of [EMAIL]", "online"]]);
  expect(site.read("out.errors.jsonl")).toMatchObject([{ error: { code: "guardrail_blocked" } }]);
});

test("a batch of a program", async () => {
  const { site } = api;
  await using glue = openClient(site, { mode: "fleet", guardrails: ["pii"] });
  site.write("own.jsonl", [{ prompt: "own ada@example.org" }]);
  const paths = { inputPath: site.path("own.jsonl"), outputPath: site.path("own-out.jsonl") };
  const run = await glue.batches.run({ ...paths, guardrails: ["short"] });
  expect(await run.report()).toMatchObject({ succeeded: 1 });
  expect(askedOf("own")).toEqual([["own [EMAIL]", "online"]]);
});

test("a batch by a key that has guardrails, also one that would be bought in a provider batch", async () => {
  const { site } = api;
  const body = { model: "simulator:test", messages: [{ role: "user", content: "key ada@example.org" }] };
  site.write("key.jsonl", [{ custom_id: "a", method: "POST", url: "/v1/chat/completions", body }]);
  const args = ["batch", "run", "key.jsonl", "-o", "key-out.jsonl", "--remote", url(), "--by", "6h"];
  expect((await runCli(args, { GLUELLM_API_KEY: token }, site.folder)).code).toBe(0);
  expect(askedOf("key")).toEqual([["key [EMAIL]", "online"]]);
});

test("a run has its workflow's guardrails and those of the key that began it", async () => {
  const ask = (id: string, input: string) => key("POST", "/api/workflows/guarded/runs", { runId: id, input });
  const ended = (id: string) =>
    waitFor("the end of the run", async () => {
      const { status, body } = await key("GET", `/api/runs/${id}/result?waitMs=1000`);
      return status === 202 ? undefined : body;
    });
  expect(await ask("run-mail", "run of ada@example.org")).toMatchObject({ status: 201 });
  await ended("run-mail");
  expect(askedOf("run")).toEqual([["run of [EMAIL]", "online"]]);
  expect((await ask("run-long", `run ${"that is long ".repeat(9)}`)).status).toBe(201);
  expect(JSON.stringify(await ended("run-long"))).toContain("guardrail_blocked");
  expect(askedOf("run")).toHaveLength(1);
});
