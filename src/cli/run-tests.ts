import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { packageFolder } from "../host/package-folder.ts";
import { ConfigurationError } from "../shared/errors.ts";

interface Options {
  verbose?: boolean;
  class?: string;
  test?: string;
  integration: boolean;
}

/** `gluellm run-tests`: the tests of this package, in a checkout of its sources. */
export function addRunTestsCommand(program: Command): void {
  program
    .command("run-tests")
    .description("Run the tests of GlueLLM itself, in a checkout of its sources.")
    .option("-v, --verbose", "name every test")
    .option("-c, --class <text>", "only test files whose path has this text, such as shared/names")
    .option("-t, --test <text>", "only tests whose name has this text; a regular expression")
    .option("--no-integration", "only tests that need neither Redis nor processes")
    .action(async (options: Options) => {
      process.exitCode = await runTests(packageFolder(), options);
    });
}

/**
 * Returns the exit code of the test runner.
 * @throws ConfigurationError `no_checkout` where the tests are not
 */
export async function runTests(folder: string, options: Options): Promise<number> {
  const runner = join(folder, "node_modules/vitest/vitest.mjs");
  if (!existsSync(join(folder, "test")) || !existsSync(runner))
    throw new ConfigurationError(
      `the tests of GlueLLM are in its repository, and ${folder} is an installed package`,
      "try this installation with `gluellm test-completion --simulator`; in a checkout, after `npm ci`, run-tests runs the tests",
      "no_checkout",
    );
  const args = [
    ...["run", ...(options.class === undefined ? [] : [options.class])],
    ...(options.verbose ? ["--reporter", "verbose"] : []),
    ...(options.test === undefined ? [] : ["--testNamePattern", options.test]),
    ...(options.integration ? [] : ["--project", "unit"]),
  ];
  const child = spawn(process.execPath, [runner, ...args], { cwd: folder, stdio: "inherit" });
  // Ctrl-C reaches the runner by itself; it tells what has run until then.
  const ignore = () => {};
  const forward = () => child.kill("SIGTERM");
  process.on("SIGINT", ignore);
  process.on("SIGTERM", forward);
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  process.off("SIGINT", ignore);
  process.off("SIGTERM", forward);
  return code ?? 128 + (signal ? constants.signals[signal] : 0);
}
