import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundled } from "../support/bundled.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const code = (last: string) => `
import { z } from ${JSON.stringify(bundled("node_modules/zod/index.js"))};
import { defineWorkflow } from ${JSON.stringify(bundled("src/index.ts"))};
export const flow = defineWorkflow({
  name: "flow",
  input: z.object({}),
  output: z.any(),
  run: async (ctx) => {
    await ctx.complete("first", "hello");
    await ctx.waitFor("go");
    return ${last};
  },
});
`;

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open({}, { GLUELLM_DEFAULT_MODEL: MODEL });
});
afterAll(() => site[Symbol.asyncDispose]());

test("dev begins anew with each change, tells a fault of the module and waits, and goes on with the run; it ends with its worker", {
  tags: "long",
}, async () => {
  const module = site.path("flow.ts");
  const save = (text: string) => writeFileSync(module, text);
  save(code("ctx.run('last', () => 'old')"));
  const dev = site.start("workflow", "dev", "flow.ts");
  const says = (what: string | RegExp) =>
    waitFor(String(what), () => {
      if (dev.child.exitCode !== null) throw new Error(`dev has ended: ${dev.stderr()}`);
      return dev.stderr().search(what) >= 0;
    });
  await says("worker is running");
  writeFileSync(site.path("input.json"), "{}");
  const run = [
    "workflow",
    "run",
    "flow",
    "--module",
    "flow.ts",
    "--config",
    "input.json",
    "--run-id",
    "kept",
  ];
  await site.run(...run, "--no-wait");
  await says(/run kept {2}flow {2}begins/);
  await says("gluellm workflow signal kept go");

  save("export const = ;");
  await says(/the module flow\.ts cannot be loaded: .*\n[\s\S]*begins anew with the next change/);
  save("export const nothing = 1;");
  await says("exports no tools, agents");
  save(code("ctx.run('last', () => 'new')"));
  await waitFor("the worker of the new code", () => dev.stderr().split("worker is running").length === 3);
  await site.run("workflow", "signal", "kept", "go");
  await says(/run kept {2}flow {2}succeeded/);
  expect((await site.run(...run, "--workers", "0")).stdout).toBe("new\n");
  expect(site.simulator.journal.entries()).toHaveLength(1);

  dev.child.kill("SIGINT");
  expect(await dev.exit).toBe(130);
  const { stdout } = await site.run("workflow", "versions", "--json");
  expect(JSON.parse(stdout)).toEqual([]);
  expect(await site.run("workflow", "dev", "none.ts")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("there is no module none.ts"),
  });
});
