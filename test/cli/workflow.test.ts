import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { WorkflowCard } from "../../src/cli/workflow-list.ts";
import { inBundle } from "../support/bundled.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const MODULE = ["--module", join(import.meta.dirname, "../support/cli-workflows.ts")];
const REPLIES: Record<string, string> = { writer: "a draft", editor: "the end" };

let site: TestSite;
beforeAll(async () => {
  const answer = ({ model }: { model: string }) => {
    const reply = REPLIES[model];
    return reply === undefined ? undefined : { reply };
  };
  site = await TestSite.open({ answer }, { GLUELLM_DEFAULT_MODEL: MODEL });
});
afterAll(() => site[Symbol.asyncDispose]());

const workflow = (...args: string[]) => site.run("workflow", ...args);

async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await workflow(...args, "--json");
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as T;
}

/** A pipeline of an agent of the module and one in JSON. */
function pipeline(...args: string[]) {
  site.write("pipeline.json", [
    {
      stages: [
        { name: "draft", agent: "writer" },
        { name: "edit", agent: { name: "editor", systemPrompt: "You edit." } },
      ],
    },
  ]);
  return workflow("run", "pipeline", "--config", "pipeline.json", ...MODULE, ...args);
}

test("run waits: the output on standard output, a line per step on standard error", async () => {
  const { code, stdout, stderr } = await pipeline("--input", "tides", "-m", "simulator:editor");
  expect([code, stdout]).toEqual([0, "the end\n"]);
  expect(stderr).toMatch(
    /^run run-[0-9a-f-]{36}\n✓ draft {2}simulator:writer {2}[\d.]+ s {2}\d+ tokens {2}no price\n/,
  );
  expect(stderr).toMatch(
    /\n✓ edit {2}simulator:editor .*\n2 steps: 2 done · \d+ tokens · .* price · [\d.]+ s\n$/,
  );
});

test("run --json prints the status with the output; --input-file is the input", async () => {
  site.write("input.txt", ["about tides"]);
  const { code, stdout } = await pipeline("--input-file", "input.txt", "-m", "simulator:editor", "--json");
  const { output, ...status } = JSON.parse(stdout);
  expect(status).toMatchObject({ workflow: "pipeline", state: "succeeded" });
  expect(output.agentInteractions[0]).toMatchObject({ agent: "writer", input: "about tides" });
  expect(code).toBe(0);
});

test("a run that fails: its error, exit code 1", async () => {
  const { code, stdout, stderr } = await workflow("run", "wrong", "--input", "go", ...MODULE);
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/✗ ask .*invalid_request\n1 step: 1 failed .*\nerror: /);
});

test("a run left by Ctrl-C goes on with the same command, and after a kill with a worker; it is forked and listed", {
  tags: "long",
}, async () => {
  site.write("article.json", [{ topic: "tides" }]);
  const command = ["workflow", "run", "article", "--config", "article.json", ...MODULE, "--run-id", "kept"];
  const first = site.start(...command);
  await waitFor("the signal is waited for", () => first.stderr().includes("signal kept approval"));
  const paid = site.simulator.journal.entries().length;
  first.child.kill("SIGINT");
  expect(await first.exit).toBe(130);
  expect(first.stderr()).toContain(`here again: gluellm ${inBundle(command).join(" ")}\n`);

  const second = site.start(...command);
  await waitFor("the run is at hand again", () => second.stderr().includes("signal kept approval"));
  second.child.kill("SIGKILL");
  await second.exit;
  expect(await json("status", "kept")).toMatchObject({ id: "kept", state: "running" });
  expect((await workflow("steps", "kept")).stdout).toMatch(
    /^✓ left\n {2}✓ draft .*\n✓ right\n {2}✓ facts .*\n {4}✓ fact .*\n {4}✓ fact#2 .*\n• approval .* waits for signal approval\n5 steps: 4 done, 1 running/,
  );

  const worker = site.start("worker", ...MODULE);
  expect((await workflow("signal", "kept", "approval", '{"by": "Ada"}')).stdout).toBe(
    "run kept has signal approval\n",
  );
  const last = await site.run(...command, "--workers", "0");
  expect(JSON.parse(last.stdout)).toEqual({ text: "said plain tides, said tides 1, said tides 2, Ada" });
  expect(site.simulator.journal.entries()).toHaveLength(paid);

  const changes = JSON.stringify({ results: { "right/facts": ["changed"] } });
  const fork = await json(
    "fork",
    "kept",
    "--from-step",
    "approval",
    "--changes",
    changes,
    "--run-id",
    "forked",
  );
  expect(fork).toEqual({ id: "forked" });
  await workflow("signal", "forked", "approval", '{"by": "Bob"}');
  await waitFor(
    "the fork's end",
    async () => (await json<{ state: string }>("status", "forked")).state === "succeeded",
  );
  expect(site.simulator.journal.entries()).toHaveLength(paid);
  expect((await workflow("list", "--runs")).stdout).toMatch(
    /^RUN +WORKFLOW +STATE +AGE +TOKENS +COST +WAITS FOR\nforked +article +succeeded +[\d.]+ s +\d+ +\$0\.00/,
  );
  expect(await workflow("signal", "kept", "approval")).toMatchObject({
    code: 2,
    stderr: "error: run kept has ended (succeeded): it takes no signals\n",
  });
  worker.child.kill("SIGTERM");
  await worker.exit;
});

test("--no-wait prints the id; the run can be looked at and cancelled from elsewhere", async () => {
  const args = ["--no-wait", "--run-id", "lonely", ...MODULE];
  expect(await workflow("run", "wrong", "--input", "later", ...args)).toMatchObject({
    code: 0,
    stdout: "lonely\n",
  });
  expect((await workflow("cancel", "lonely")).stdout).toBe("run lonely is cancelled\n");
  expect((await workflow("status", "lonely")).stdout).toMatch(
    /^run +lonely\nworkflow +wrong\nstate +cancelled after [\s\S]*\nerror +cancelled: /,
  );
});

test("list shows when to take a pattern, what it calls, and its options; a module's workflows too", async () => {
  const { stdout } = await workflow("list", ...MODULE);
  expect(stdout).toMatch(/^pipeline\n {2}The steps .*\n {2}calls: stages\n/m);
  expect(stdout).toMatch(/^ {2}stages\[\]\.agent +agent +required +does the stage's work$/m);
  expect(stdout).toMatch(
    /^article\n {2}topic +string +required +what it is about\n {2}tone +plain \| grand +default "plain"$/m,
  );
  const [card, ...others] = await json<WorkflowCard[]>("list", "article", ...MODULE);
  expect(card?.options[1]).toMatchObject({ name: "tone", isRequired: false, default: "plain" });
  expect(others).toEqual([]);
});

test.each([
  ["an unknown workflow", ["run", "none"], 2, /no workflow "none"\n {2}→ known: .*pipeline/],
  [
    "a wrong config: its field is named",
    ["run", "pipeline", "--config", "bad.json"],
    2,
    /at stages\.0\.name/,
  ],
  ["an unknown run", ["steps", "none"], 2, /no run none/],
  ["no key", ["run", "pipeline", "-m", "openai:gpt-4o-mini"], 3, /OPENAI_API_KEY is not set/],
])("%s: says so, with its exit code", async (_what, args, exitCode, message) => {
  site.write("bad.json", [{ input: "x", stages: [{ name: "a/b", agent: {} }] }]);
  const { code, stderr } = await workflow(...args);
  expect(stderr).toMatch(message);
  expect(code).toBe(exitCode);
});

test("test-pipeline-workflow tries a pattern on a simulated account", async () => {
  const { code, stdout } = await site.run("test-pipeline-workflow", "--simulator", "-s", "2");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^answer {2}\[simulated\].*\nrounds {2}2\ncalls {3}2\n$/);
});

test("a dashboard of its own offers the workflows of its modules to be tried", async () => {
  const dashboard = site.start("dashboard", "--port", "0", ...MODULE);
  const url = await waitFor("its link", () => /dashboard: (\S+)/.exec(dashboard.stderr())?.[1]);
  const { origin, searchParams } = new URL(url);
  const headers = { authorization: `Bearer ${searchParams.get("token")}` };
  const response = await fetch(`${origin}/api/workflow-schemas`, { headers });
  const { data } = (await response.json()) as { data: Record<string, unknown> };
  expect(Object.keys(data)).toEqual(expect.arrayContaining(["pipeline", "article"]));
});
