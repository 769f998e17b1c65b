import { copyFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { outputOf, runProcess } from "../support/processes.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

const ROOT = join(import.meta.dirname, "../..");

test("a commit of a file that the gate would refuse is refused, and others are not", async () => {
  const folder = temporaryFolder();
  const options = { cwd: folder, env: { GIT_CONFIG_GLOBAL: "/dev/null" } };
  const git = (...args: string[]) => runProcess("git", args, options);
  await outputOf("git", ["init", "--quiet"], options);
  for (const [name, value] of [
    ["user.name", "test"],
    ["user.email", "test@example.com"],
    ["core.hooksPath", join(ROOT, "tools/hooks")],
  ])
    await git("config", name ?? "", value ?? "");
  copyFileSync(join(ROOT, "biome.json"), join(folder, "biome.json"));
  writeFileSync(join(folder, ".gitignore"), "node_modules\n");
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));

  writeFileSync(join(folder, "a.ts"), "export   const a = 1\n");
  await git("add", ".");
  const refused = await git("commit", "-m", "feat: a");
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain("npx biome check --write --staged");

  writeFileSync(join(folder, "a.ts"), "export const a = 1;\n");
  writeFileSync(join(folder, "notes.txt"), "no language of Biome's\n");
  // What is not staged does not matter.
  writeFileSync(join(folder, "b.ts"), "export   const b = 1\n");
  await git("add", "a.ts", "notes.txt");
  const { code, stderr } = await git("commit", "-m", "feat: a");
  expect(code, stderr).toBe(0);
});
