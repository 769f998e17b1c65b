import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestSite } from "../support/site.ts";
import { script, turnsSeen } from "../support/talk.ts";
import { waitFor } from "../support/wait-for.ts";

const MODULE = join(import.meta.dirname, "../support/tools.ts");
const CHAT = ["chat", "-m", "simulator:test"];

let site: TestSite;
beforeAll(async () => {
  const faults = JSON.stringify({ script: [{ match: "bad request", fault: "400" }] });
  site = await TestSite.open({ faults });
});
afterAll(() => site[Symbol.asyncDispose]());

async function chat(lines: readonly string[], ...args: string[]) {
  const run = site.start(...CHAT, ...args);
  run.child.stdin?.end(lines.join("\n"));
  return { code: await run.exit, stdout: run.stdout(), stderr: run.stderr() };
}

test("piped lines are messages of one conversation; commands are not", async () => {
  const { code, stdout, stderr } = await chat([
    "talk one",
    "",
    "/id",
    "/nonsense",
    "talk two",
    "/reset",
    "talk three",
  ]);
  expect(code).toBe(0);
  expect(stdout.match(/^\[simulated\]/gm)).toHaveLength(3);
  expect(stdout).not.toContain("conv-");
  expect(turnsSeen(site, "talk")).toEqual([0, 1, 0]);
  expect(stderr.match(/^\d+ \+ \d+ tokens, price unknown; conversation: \d+ tokens/gm)).toHaveLength(3);
  expect(stderr).toContain("there is no /nonsense");
  expect(new Set(stderr.match(/conv-[0-9a-f-]{36}/g)).size).toBe(2);
});

test("goes on with a conversation, calls tools and prints whole results", { tags: "long" }, async () => {
  await chat(["named one"], "--conversation", "named");
  // One line is one message.
  const directive = script(
    "",
    { toolCalls: [{ name: "add", arguments: { a: 1, b: 2 } }] },
    { reply: "3" },
  ).trim();
  const { stdout, stderr } = await chat(
    [directive, "/quit", "never"],
    "--conversation",
    "named",
    "--json",
    "--tools",
    MODULE,
  );
  expect(stderr).toContain("conversation named with simulator:test, 1 answer so far");
  expect(
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toMatchObject([{ finalResponse: "3", toolCallsMade: 1 }]);
  expect(turnsSeen(site, "never")).toEqual([]);
});

test("a failed call is told, the next one is made, and the code says so", async () => {
  const { code, stdout, stderr } = await chat(["bad request", "good request"]);
  expect(code).toBe(1);
  expect(stderr).toContain("error: ");
  expect(stdout).toContain("[simulated]");
});

test("an unknown id of an older conversation ends it at once", async () => {
  const id = "conv-00000000-0000-4000-8000-000000000000";
  const { code, stderr } = await chat(["hello"], "--conversation", id);
  expect(code).toBe(2);
  expect(stderr).toContain(`there is no conversation ${id}`);
});

test("Ctrl-C cancels the call, and twice leaves", async () => {
  const run = site.start(...CHAT);
  run.child.stdin?.write(`#sim {"latencyMs": 60000}\n`);
  await waitFor("the call", () => turnsSeen(site, '#sim {"latencyMs"').length === 1);
  run.child.kill("SIGINT");
  await waitFor("its end", () => run.stderr().includes("cancelled; Ctrl-C again to leave"));
  run.child.kill("SIGINT");
  expect(await run.exit).toBe(130);
  expect(run.stdout()).toBe("");
  await waitFor("the abort", () => site.simulator.journal.entries().at(-1)?.aborted);
});
