import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeDocBlocks } from "../../tools/doc-blocks.ts";
import { bareMachine } from "../support/bare-machine.ts";
import { outputOf } from "../support/processes.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

/**
 * Blocks that a program cannot just run: of functions that the reader has, of services that are not here, of things that
 * take hours, and those that change the settings of the process.
 */
const NOT_HERE =
  /\bdeclare |from "(ioredis|openai|express|node:test)"|mcpTools|setupLogging|process\.env|by: "/;
const INDEX = join(import.meta.dirname, "../../src/index.ts");
const ROWS = ["Name a prime number above 100.", "Name one in French."].map((prompt) =>
  JSON.stringify({ prompt }),
);

/** A program that runs the modules one after the other with what test/docs/doc-globals.ts promises. */
function program(paths: readonly string[]): string {
  return `
import { GlueLLM } from ${JSON.stringify(INDEX)};
import { z } from "zod";
const told = process.stdout.write.bind(process.stdout);
process.stdout.write = () => true; // what blocks print
const glue = new GlueLLM({ model: "openai:gpt-4o-mini" });
Object.assign(globalThis, { glue, z });
for (const path of ${JSON.stringify(paths)}) {
  try {
    await import(path);
  } catch (error) {
    told(path + ": " + error + "\\n");
  }
}
await glue.close();
process.exit();
`;
}

test("the code blocks of the documents run", async () => {
  const { simulator, env } = await bareMachine();
  const folder = temporaryFolder();
  const paths = writeDocBlocks()
    .filter(({ block }) => !NOT_HERE.test(block.code))
    .map(({ path }) => path);
  expect(paths.length).toBeGreaterThan(30);
  for (const name of ["in.jsonl", "questions.jsonl"])
    writeFileSync(join(folder, name), `${ROWS.join("\n")}\n`);
  const file = join(import.meta.dirname, "blocks", "all.mjs");
  writeFileSync(file, program(paths));
  const out = await outputOf(process.execPath, [file], {
    cwd: folder,
    env: {
      ...env,
      OPENAI_BASE_URL: `${simulator.url}/v1`,
      OPENAI_API_KEY: "none",
      ANTHROPIC_BASE_URL: simulator.url,
      ANTHROPIC_API_KEY: "none",
      GLUELLM_DEPLOYMENTS: '{"fast": [{"model": "openai:gpt-4o-mini"}]}',
    },
  });
  expect(out).toBe("");
  expect(simulator.journal.entries().length).toBeGreaterThan(30);
});
