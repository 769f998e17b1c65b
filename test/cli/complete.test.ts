import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MODEL, TestSite } from "../support/site.ts";

const TOOLS = join(import.meta.dirname, "../support/tools.ts");

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open();
});
afterAll(() => site[Symbol.asyncDispose]());

function complete(prompt: string, ...args: string[]) {
  return site.run("complete", prompt, "-m", MODEL, ...args);
}

test("complete --schema prints JSON that fits it", async () => {
  site.write("schema.json", [{ type: "object", properties: { n: { type: "integer" } }, required: ["n"] }]);
  const { code, stdout } = await complete('how many?\n#sim {"json": {"n": 3}}', "--schema", "schema.json");
  expect([code, JSON.parse(stdout)]).toEqual([0, { n: 3 }]);
});

test("complete --schema with a file that is none says so", async () => {
  site.write("none.json", ["{not json"]);
  const { code, stderr } = await complete("hello", "--schema", "none.json");
  expect(code).toBe(2);
  expect(stderr).toMatch(/the schema file none.json cannot be read: .*JSON/);
});

test("complete --schema with what is no JSON Schema asks no provider", async () => {
  site.write("strng.json", [{ type: "object", properties: { a: { type: "strng" } } }]);
  const callsBefore = site.simulator.journal.entries().length;
  const { code, stderr } = await complete("hello", "--schema", "strng.json");
  expect(code).toBe(2);
  expect(stderr).toMatch(/schema of the answer cannot be used: .*properties\/a\/type/);
  expect(site.simulator.journal.entries()).toHaveLength(callsBefore);
});

test("complete --system --tools --json runs the tools and prints the whole result", async () => {
  const turns = [{ toolCalls: [{ name: "add", arguments: { a: 1, b: 1 } }] }, { reply: "two" }];
  const prompt = `add\n#sim ${JSON.stringify({ turns })}`;
  const { code, stdout } = await complete(prompt, "-s", "You count.", "--tools", TOOLS, "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    finalResponse: "two",
    toolExecutionHistory: [{ toolName: "add", result: "2" }],
  });
});

test("test-completion and test-tool-call try an account, or a simulated one", { tags: "long" }, async () => {
  const completion = await site.run("test-completion", "-m", MODEL);
  expect(completion).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^model {3}simulator:test\nanswer {2}\[sim/),
  });
  const toolCall = await site.run("test-tool-call", "--simulator");
  expect(toolCall).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^tool {4}current_time → 20\d\d-/),
  });
  const untouched = await site.run("test-tool-call", "-m", MODEL);
  expect(untouched).toMatchObject({ code: 1, stderr: expect.stringContaining("answered without its tool") });
});
