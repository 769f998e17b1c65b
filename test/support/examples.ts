import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { runProgram } from "./site-client.ts";
import { testSystem } from "./system.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");

/** The examples of agents and of their tools. */
export const AGENT_EXAMPLES: readonly string[] = ["agents", "mcp", "support-desk", "tools"];

/** What a test file runs its examples with. */
export function exampleSite() {
  const ran = new Set<string>();
  /** All but the first find the Redis of the one before still there: to start one takes longer than most of them. */
  const dataDir = mkdtempSync(join(tmpdir(), "gluellm-examples-"));
  afterAll(async () => {
    await stopEmbeddedRedis({ dataDir, system: testSystem() });
    rmSync(dataDir, { recursive: true, force: true });
  });

  /** The lines that an example prints until it ends by itself. */
  async function run(name: string, env: Record<string, string>): Promise<string[]> {
    ran.add(name);
    const output = await runProgram(join(EXAMPLES, `${name}.ts`), [], env);
    return output.trimEnd().split("\n");
  }
  return { dataDir, ran, run };
}

/** Names of the examples that are there, sorted. */
export function examplesOf(isOne: (name: string) => boolean): string[] {
  const files = readdirSync(EXAMPLES).filter((file) => file.endsWith(".ts"));
  return files
    .map((file) => file.slice(0, -".ts".length))
    .filter(isOne)
    .sort();
}
