import { existsSync, linkSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli, startCli } from "../support/cli.ts";
import { type ServedApi, serveApi } from "../support/served-api.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* The commands as on a machine that has the address and a key alone. */

let api: ServedApi;
let url: string;
beforeAll(async () => {
  api = await serveApi({ latencyMs: 20 });
  url = api.baseURL.replace(/\/v1$/, "");
});
afterAll(() => api.site[Symbol.asyncDispose]());

const env = () => ({ GLUELLM_API_KEY: api.apiKey });
const cli = (...args: string[]) => runCli(args, env(), api.site.folder);
const line = (n: number, content = `remote question ${n}`) => ({
  custom_id: `row-${n}`,
  method: "POST",
  url: "/v1/chat/completions",
  body: { model: MODEL, messages: [{ role: "user", content }] },
});

test("submit, list, status, download", { tags: "long" }, async () => {
  api.site.write("in.jsonl", [line(0), line(1, 'no\n#sim {"unknown": 1}'), line(2)]);
  const submitted = await cli(
    "batch",
    "submit",
    "in.jsonl",
    "--remote",
    url,
    "--metadata",
    "job=a=b",
    "--window",
    "2h",
    "--by",
    "30s",
  );
  expect(submitted).toMatchObject({ code: 0, stdout: expect.stringMatching(/^batch_[0-9a-f-]{36}\n$/) });
  const id = submitted.stdout.trim();
  const status = async () => JSON.parse((await cli("batch", "status", id, "--remote", url)).stdout);
  await waitFor("the end", async () => (await status()).status === "completed");
  expect(await status()).toMatchObject({
    metadata: { job: "a=b", gluellm_by: expect.stringMatching(/^\d{4}-.*Z$/) },
    completion_window: "2h",
    request_counts: { total: 3, failed: 1 },
  });
  expect((await cli("batch", "list", "--remote", url)).stdout).toMatch(
    new RegExp(`${id} +completed +2 +1 +3 `),
  );
  const { code, stderr } = await cli("batch", "download", id, "-o", "got.jsonl", "--remote", `${url}/v1/`);
  expect([code, stderr]).toEqual([1, expect.stringContaining("2 of 3 rows succeeded, 1 failed")]);
  expect(api.site.read("got.jsonl").map(({ custom_id }) => custom_id)).toEqual(["row-0", "row-2"]);
  expect(api.site.read("got.errors.jsonl")).toMatchObject([{ custom_id: "row-1" }]);
  expect((await cli("batch", "cancel", id, "--remote", url)).code).toBe(2);
});

test("run --remote goes on with its batch after it was interrupted, and pays once", {
  tags: "long",
}, async () => {
  api.site.write(
    "more.jsonl",
    Array.from({ length: 300 }, (_, n) => line(n, `run question ${n}`)),
  );
  api.site.simulator.setLatency({ latencyMs: 2000, jitterMs: 0 });
  const command = ["batch", "run", "more.jsonl", "-o", "out.jsonl", "--remote", url];
  const first = startCli(command, env(), api.site.folder);
  await waitFor("its begin", () => first.stderr().includes("in_progress"));
  first.child.kill("SIGINT");
  expect(await first.exit).toBe(130);
  api.site.simulator.setLatency({ latencyMs: 5, jitterMs: 0 });
  expect(existsSync(api.site.path("out.jsonl.remote"))).toBe(true);
  const second = await cli(...command);
  expect([second.code, second.stderr]).toEqual([0, expect.stringContaining("300 of 300 rows succeeded")]);
  expect(api.site.read("out.jsonl")).toHaveLength(300);
  const again = await cli(...command);
  expect([again.code, again.stderr]).toEqual([0, expect.stringContaining("300 of 300 rows succeeded")]);
  expect(
    [...api.site.paidCalls()].filter(([text, count]) => text.startsWith("run question") && count > 1),
  ).toEqual([]);
  const [state, link] = [api.site.path("out.jsonl.remote"), api.site.path("before")];
  const before = readFileSync(state, "utf8");
  linkSync(state, link);
  api.site.write("more.jsonl", [line(0, "another question")]);
  expect((await cli(...command)).code).toBe(0);
  expect(readFileSync(state, "utf8")).not.toBe(before);
  expect(readFileSync(link, "utf8"), "it is replaced whole, never written over").toBe(before);
  // What cannot be read is not taken for none: the batch would be made, and paid, again.
  for (const text of ["", '{"id": "batch_', "[]"]) {
    writeFileSync(state, text);
    const told = await cli(...command);
    expect([told.code, told.stderr]).toEqual([
      2,
      expect.stringContaining("out.jsonl.remote does not say which batch"),
    ]);
    expect(readFileSync(state, "utf8")).toBe(text);
  }
});

test("what is wrong is said in a line, with what to do", { tags: "long" }, async () => {
  api.site.write("in.jsonl", [line(0)]);
  writeFileSync(api.site.path("plain.jsonl"), '{"prompt": "hello"}\n');
  const submit = (input: string, remote: string, key = api.apiKey) =>
    runCli(["batch", "submit", input, "--remote", remote], { GLUELLM_API_KEY: key }, api.site.folder);
  expect(await submit("plain.jsonl", url)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("no OpenAI batch line"),
  });
  expect(await submit("none.jsonl", url)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("ENOENT"),
  });
  expect(await submit("in.jsonl", "nowhere")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("no address"),
  });
  expect(await submit("in.jsonl", "http://127.0.0.1:9")).toMatchObject({
    code: 3,
    stderr: expect.stringContaining("cannot be reached"),
  });
  expect(await submit("in.jsonl", url, "gk_wrong")).toMatchObject({
    code: 3,
    stderr: expect.stringContaining("no key of this API"),
  });
  const run = (...options: string[]) => cli("batch", "run", "in.jsonl", "-o", "no.jsonl", ...options);
  expect(await run("--remote", url, "--max-cost", "1", "--no-cache", "--lanes", "batch")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/with --remote, --lanes, --max-cost, --no-cache would do nothing/),
  });
  expect(await run("--window", "2h")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--window is for --remote alone"),
  });
  // A provider's own key is sent to no API of ours.
  const foreign = await runCli(
    ["batch", "list", "--remote", url],
    { OPENAI_API_KEY: "sk-of-openai" },
    api.site.folder,
  );
  expect(foreign).toMatchObject({ code: 3, stderr: expect.stringContaining("there is no key") });
  api.site.write("bad.jsonl", [line(0), { ...line(1), custom_id: "row-0" }]);
  const failed = await cli("batch", "run", "bad.jsonl", "-o", "bad-out.jsonl", "--remote", url);
  expect(failed).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("line 2: custom_id: line 1 has the same"),
  });
  expect(readFileSync(api.site.path("bad.jsonl"), "utf8")).toContain("row-0");
});
