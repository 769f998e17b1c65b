import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { fileInstalled } from "../../src/cli/init.ts";
import { stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { runCli } from "../support/cli.ts";
import { runProcess } from "../support/processes.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { testSystem } from "../support/system.ts";

const ROOT = join(import.meta.dirname, "../..");
const FILES = [
  ...[".env.example", ".gitignore", "Dockerfile", "README.md", "compose.yaml", "package.json"],
  ...["src/support.ts", "test/support.test.ts", "tickets.jsonl", "tsconfig.json"],
];

/** Installs this checkout as the package: its sources in place of what packing builds of them. */
function installCheckout(project: string): void {
  const installed = join(project, "node_modules", "gluellm");
  mkdirSync(installed, { recursive: true });
  symlinkSync(join(ROOT, "src"), join(installed, "src"));
  symlinkSync(join(ROOT, "node_modules/zod"), join(project, "node_modules/zod"));
  const exports = { ".": "./src/index.ts", "./testing": "./src/testing/index.ts" };
  writeFileSync(
    join(installed, "package.json"),
    JSON.stringify({ name: "gluellm", type: "module", exports }),
  );
}

test("the starter's own test passes as soon as the package is installed", { tags: "long" }, async () => {
  const folder = temporaryFolder();
  const made = await runCli(["init", "My Shop", "--json"], {}, folder);
  expect(made.code, made.stderr).toBe(0);
  expect(JSON.parse(made.stdout)).toEqual({ folder: "My Shop", written: FILES, kept: [] });
  const project = join(folder, "My Shop");
  const read = (name: string) => readFileSync(join(project, name), "utf8");
  const own = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  expect(JSON.parse(read("package.json"))).toMatchObject({
    name: "my-shop",
    dependencies: { gluellm: `^${own.version}`, zod: `^${own.dependencies.zod}` },
    devDependencies: { typescript: `^${own.devDependencies.typescript}` },
  });
  expect(Object.keys(parse(read("compose.yaml"), { merge: true }).services)).toEqual([
    ...["redis", "worker", "api", "dashboard"],
  ]);
  installCheckout(project);
  const dataDir = join(folder, "data");
  onTestFinished(async () => void (await stopEmbeddedRedis({ dataDir, system: testSystem() })));
  const env = { GLUELLM_DATA_DIR: dataDir };
  const tested = await runProcess("npm", ["test"], { cwd: project, env });
  expect(tested.stdout + tested.stderr).toMatch(/pass 1\n[\s\S]*fail 0\n/);
  expect(tested.code).toBe(0);
});

test("a package that was installed from a file is the project's too", () => {
  const folder = temporaryFolder();
  const modules = join(folder, "site", "node_modules");
  mkdirSync(modules, { recursive: true });
  const installed = (resolved: string) => {
    const packages = { "node_modules/gluellm": { resolved } };
    writeFileSync(join(modules, ".package-lock.json"), JSON.stringify({ packages }));
    return fileInstalled(join(modules, "gluellm"), join(folder, "shop", "desk"));
  };
  expect(installed("file:../packed/gluellm-0.1.0.tgz")).toBe("file:../../packed/gluellm-0.1.0.tgz");
  expect(installed("https://registry.invalid/gluellm-0.1.0.tgz")).toBeUndefined();
  expect(fileInstalled(ROOT, folder)).toBeUndefined();
});

describe("what is there already", () => {
  test("files stay as they are, and are named", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "README.md"), "mine");
    symlinkSync("nowhere", join(folder, ".env.example"));
    const { code, stdout } = await runCli(["init"], {}, folder);
    expect(code).toBe(0);
    expect(readFileSync(join(folder, "README.md"), "utf8")).toBe("mine");
    expect(stdout).toMatch(/= README\.md \(was there/);
    expect(stdout).toMatch(/= \.env\.example \(was there/);
    expect(stdout).toMatch(/\+ src\/support\.ts/);
    expect(stdout).toContain("next: npm install && npm test");
  });

  test("a file in the place of a folder is refused", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "taken"), "");
    const { code, stderr } = await runCli(["init", "taken"], {}, folder);
    expect(code).toBe(2);
    expect(stderr).toMatch(/error: taken\/\S+ cannot be written: E\w+\n/);
  });
});
