import { cpSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundled } from "../support/bundled.ts";
import { runCli } from "../support/cli.ts";
import { MODEL, TestSite } from "../support/site.ts";

const ROOT = join(import.meta.dirname, "../..");
const code = (prompt: string, ran = "") => `
import { writeFileSync } from "node:fs";
import { z } from ${JSON.stringify(bundled("node_modules/zod/index.js"))};
import { defineWorkflow } from ${JSON.stringify(bundled("src/index.ts"))};
export const article = defineWorkflow({
  name: "article",
  input: z.object({ topic: z.string() }),
  output: z.any(),
  run: async (ctx, { topic }) => {
    await ctx.run("note", () => { ${ran} });
    return (await ctx.complete("draft", \`${prompt} \${topic}\`)).finalResponse;
  },
});
`;

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open({}, { GLUELLM_DEFAULT_MODEL: MODEL });
});
afterAll(() => site[Symbol.asyncDispose]());

test("replay says in CI whether changed code fits what runs have recorded, from Redis or from files", {
  tags: "long",
}, async () => {
  const module = site.path("article.ts");
  const replay = (...args: string[]) => site.run("workflow", "replay", module, ...args);
  writeFileSync(module, code("Write about"));
  writeFileSync(site.path("input.json"), '{"topic": "tides"}');
  for (const id of ["run-a", "run-b"]) {
    const args = ["--config", "input.json", "--module", module, "--run-id", id, "--tag", `of=${id}`];
    expect(await site.run("workflow", "run", "article", ...args)).toMatchObject({ code: 0 });
  }
  // Work that would be seen.
  writeFileSync(module, code("Write about", 'writeFileSync("ran", "")'));
  const calls = site.simulator.journal.entries().length;
  expect(await replay("--export", "exported")).toMatchObject({
    code: 0,
    stdout: "2 runs: 2 fit\n",
    stderr: "",
  });
  expect(readdirSync(site.path("exported")).sort()).toEqual(["run-a.json", "run-b.json"]);

  writeFileSync(module, code("Sing about"));
  const changed = await replay("--runs", "tag=of=run-b,state=succeeded");
  expect(changed).toMatchObject({ code: 1, stderr: "" });
  expect(changed.stdout).toMatch(
    /^✗ run-b {2}article {2}draft {2}step "draft" has changed: recorded .*\n1 run: 0 fit, 1 differ\n$/,
  );
  // Without any Redis.
  cpSync(site.path("exported"), site.path("kept"), { recursive: true });
  const env = { ...site.env, GLUELLM_REDIS_URL: "redis://127.0.0.1:1" };
  const kept = await runCli(["workflow", "replay", module, "--from", "kept", "--json"], env, site.folder);
  expect([kept.code, JSON.parse(kept.stdout)]).toMatchObject([
    1,
    { fits: 0, differs: [{ id: "run-a", step: "draft" }, {}] },
  ]);
  expect(site.simulator.journal.entries()).toHaveLength(calls);
  expect(readdirSync(site.folder)).not.toContain("ran");

  for (const [args, exitCode, says] of [
    [["--runs", "workflow=none"], 2, "no run fits workflow=none"],
    [["--runs", "tag="], 2, "a tag has at least one character"],
    [["--runs", "colour=red"], 2, "selection of runs is wrong"],
    [["--from", "nowhere"], 2, "the folder nowhere cannot be read: ENOENT"],
  ] as const) {
    const { code: ended, stdout, stderr } = await replay(...args);
    expect([ended, stdout]).toEqual([exitCode, ""]);
    expect(stderr).toContain(says);
  }
  const other = join(ROOT, "test/support/notes-retriever.ts");
  expect(await site.run("workflow", "replay", other)).toMatchObject({
    code: 3,
    stderr: expect.stringContaining("exports no workflows"),
  });
});
