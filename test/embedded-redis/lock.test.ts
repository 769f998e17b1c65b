import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { acquireLock, livingHolder, tryLock } from "../../src/embedded-redis/lock.ts";
import { identityOf, startTimeOf } from "../../src/shared/process-identity.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

const lockPath = () => join(temporaryFolder(), "lock");

test("a held lock is not given twice, a released one is", async () => {
  const path = lockPath();
  const lock = await acquireLock(path);
  expect(livingHolder(path)?.pid).toBe(process.pid);
  expect(tryLock(path)).toBeUndefined();
  await expect(acquireLock(path, 50)).rejects.toMatchObject({ code: "lock_timeout" });
  lock.release();
  expect(existsSync(path)).toBe(false);
  expect(tryLock(path)).toBeDefined();
});

test.each([
  ["a dead process", { pid: 2 ** 22 + 1, startedAt: "gone" }],
  ["an earlier process of the same pid", { pid: process.pid, startedAt: "earlier" }],
  ["a process in the folder this one was copied from", { ...identityOf(process.pid), place: "/elsewhere" }],
])("the lock of %s is taken over", (_, holder) => {
  const path = lockPath();
  writeFileSync(path, JSON.stringify({ place: join(path, ".."), token: "theirs", ...holder }));
  expect(livingHolder(path)).toBeUndefined();
  expect(tryLock(path)).toBeDefined();
  expect(livingHolder(path)?.pid).toBe(process.pid);
  expect(readdirSync(join(path, ".."))).toEqual(["lock"]);
});

test("a lock file that a power cut left empty, and a takeover that was cut short, are taken over", () => {
  const path = lockPath();
  writeFileSync(path, "");
  writeFileSync(`${path}.takeover`, "");
  expect(tryLock(path)).toBeDefined();
  expect(readdirSync(join(path, ".."))).toEqual(["lock"]);
});

test("many who find the same stale lock hold it one after the other", async () => {
  const path = lockPath();
  writeFileSync(path, JSON.stringify({ pid: 0, startedAt: "", token: "", place: "" }));
  let inside = 0;
  const holds = Array.from({ length: 20 }, async () => {
    const lock = await acquireLock(path);
    inside++;
    await new Promise((resolve) => setImmediate(resolve));
    expect(inside).toBe(1);
    inside--;
    lock.release();
  });
  await Promise.all(holds);
});

test("a process has a start time as long as it lives", () => {
  expect(startTimeOf(process.pid)).toBe(startTimeOf(process.pid));
  expect(startTimeOf(process.pid)).not.toBe(startTimeOf(process.ppid));
  expect(startTimeOf(2 ** 22 + 1)).toBeUndefined();
});
