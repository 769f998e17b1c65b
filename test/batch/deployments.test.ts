import { expect, onTestFinished, test } from "vitest";
import { modelRef } from "../../src/shared/model-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { bundled } from "../support/bundled.ts";
import { errorBody, goodBody } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const FLOW = `
import { z } from "${bundled("node_modules/zod/index.js")}";
import { defineWorkflow } from "${bundled("src/index.ts")}";
export const ask = defineWorkflow({
  name: "ask",
  input: z.any(),
  output: z.any(),
  run: async (ctx) => (await ctx.complete("ask", "hello")).finalResponse,
});`;

/** Two entries of one server, which answers each as `statusOf` says; a name for both. */
async function openSite(statusOf: (entry: string, n: number) => number, weights = [1, 1]) {
  const calls: string[] = [];
  const wire = await wireServer((response, { path }) => {
    const entry = path.split("/")[1] ?? "";
    calls.push(entry);
    const status = statusOf(entry, calls.filter((each) => each === entry).length);
    const error = { message: `no ${entry}`, type: "x", code: status === 401 ? "invalid_api_key" : "x" };
    if (status !== 200) return sendJson(response, errorBody("openai", error), status);
    return sendJson(response, goodBody("openai", `by ${entry}`));
  });
  const entryOf = (name: string) => ({ baseUrl: `${wire.url}/${name}`, keyOptional: true, models: ["*"] });
  const site = await TestSite.open(
    {},
    {
      GLUELLM_PROVIDERS: JSON.stringify({ left: entryOf("left"), right: entryOf("right") }),
      GLUELLM_DEPLOYMENTS: deployments(weights),
    },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  return { site, calls };
}

function deployments([left, right]: number[]): string {
  return JSON.stringify({
    fast: [
      { model: "left:m", weight: left },
      { model: "right:m", weight: right },
    ],
    alone: [{ model: "left:m" }],
  });
}

const run = (site: TestSite, ...args: string[]) =>
  site.run("batch", "run", "in.jsonl", "-o", "out.jsonl", ...args);

/** Runs the batch in this process. */
async function reportOf(site: TestSite, { model = "fast", weights = [1, 1] } = {}) {
  const env = { ...site.env, GLUELLM_DEPLOYMENTS: deployments(weights) };
  const glue = siteClient(site, { mode: "local", settings: loadSettings({ env, cwd: "/" }) });
  const paths = { inputPath: site.path("in.jsonl"), outputPath: site.path("out.jsonl") };
  return (await glue.batches.run({ ...paths, model })).report();
}

test("the rows of a name of deployments are spread over them, and go to the other one when one is down", async () => {
  const { site, calls } = await openSite((entry, n) => (entry === "left" && n > 3 ? 500 : 200));
  site.write("in.jsonl", [
    ...site.rows(20),
    { custom_id: "named", prompt: "x", model: "fast" },
    { custom_id: "alone", prompt: "x", model: "right:m" },
  ]);
  expect(await reportOf(site)).toMatchObject({ status: "completed", succeeded: 22 });
  expect(new Set(calls)).toEqual(new Set(["left", "right"]));
  expect(site.read("out.jsonl")).toHaveLength(22);
  // Other weights are no other question: nothing is asked again.
  const before = calls.length;
  expect(await reportOf(site, { weights: [9, 1] })).toMatchObject({ status: "completed", succeeded: 22 });
  expect(calls).toHaveLength(before);
});

test("when all of them refuse the account, the batch stops with its rows unsent; mended, the same command goes on", async () => {
  let isOpen = false;
  const { site } = await openSite(() => (isOpen ? 200 : 401));
  site.write("in.jsonl", site.rows(6));
  const { code, stderr } = await run(site, "-m", "fast");
  expect(code, stderr).toBe(3);
  expect(stderr).toContain("6 rows are not sent");
  isOpen = true;
  expect(await reportOf(site)).toMatchObject({ status: "completed", succeeded: 6 });
});

test("one that refuses the key is passed over", async () => {
  const { site } = await openSite((entry) => (entry === "left" ? 401 : 200));
  site.write("in.jsonl", site.rows(8));
  expect(await reportOf(site)).toMatchObject({ status: "completed", succeeded: 8 });
});

test("a name of one deployment is that model; chat and workflows take names too", async () => {
  const { site, calls } = await openSite(() => 200);
  site.write("in.jsonl", site.rows(2));
  expect(await reportOf(site, { model: "alone" })).toMatchObject({ status: "completed", failed: 0 });
  expect(new Set(calls)).toEqual(new Set(["left"]));
  const chat = site.start("chat", "-m", "fast");
  chat.child.stdin?.end("hello\n/quit\n");
  expect(await chat.exit, chat.stderr()).toBe(0);
  expect(chat.stdout()).toMatch(/by (left|right)/);
  site.write("flow.ts", [FLOW]);
  const workflow = await site.run(
    "workflow",
    "run",
    "ask",
    "--module",
    "flow.ts",
    "-m",
    "fast",
    "--input",
    "x",
  );
  expect(workflow).toMatchObject({ code: 0, stdout: expect.stringMatching(/by (left|right)/) });
});

test("the name that stands before a name of deployments is no provider's", () => {
  const env = { GLUELLM_PROVIDERS: JSON.stringify({ deployments: { baseUrl: "http://127.0.0.1:1" } }) };
  expect(() => loadSettings({ env, cwd: "/" })).toThrow(/the name is taken/);
  expect(modelRef("deployments", "x").key).toBe("deployments:x");
});
