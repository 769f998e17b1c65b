import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { identityOf, isAlive } from "../../src/shared/process-identity.ts";

const SOURCE = join(import.meta.dirname, "../../src/shared/process-identity.ts");
const MEMORY = join(import.meta.dirname, "../../src/limits/memory-use.ts");

/** Runs a program in which `/proc` is empty; undefined where that needs more rights than there are. */
function withoutProc(program: string): string | undefined {
  const command = `mount -t tmpfs none /proc && exec "$0" --input-type=module -e "$1"`;
  try {
    return execFileSync("unshare", ["-m", "sh", "-c", command, process.execPath, program], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return undefined;
  }
}

test("a process is told from a later one with its id", () => {
  const own = identityOf(process.pid);
  expect(own && isAlive(own)).toBe(true);
  expect(isAlive({ pid: process.pid, startedAt: "earlier" })).toBe(false);
  expect(isAlive({ pid: 2 ** 22 + 1, startedAt: own?.startedAt ?? "" })).toBe(false);
});

test("with a hidden /proc a process that lives counts as itself, and memory is measured by the heap", (context) => {
  const told = withoutProc(`
    import { identityOf, isAlive } from ${JSON.stringify(SOURCE)};
    import { MemoryUse } from ${JSON.stringify(MEMORY)};
    const memory = new MemoryUse({ onCollected() {} });
    const alive = isAlive({ pid: process.pid, startedAt: "earlier" });
    console.log(JSON.stringify([identityOf(process.pid).startedAt, alive, identityOf(4194305) ?? null, memory.share > 0]));
    process.exit();
  `);
  if (told === undefined) return context.skip("a /proc of its own can be mounted by root alone, on Linux");
  expect(JSON.parse(told)).toEqual(["untold", true, null, true]);
});
