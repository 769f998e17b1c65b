import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { LogFile, type LogFileOptions } from "../../src/telemetry/log-file.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

function openFile(dir: string, options: Partial<LogFileOptions> = {}): LogFile {
  const path = join(dir, "logs", "gluellm.log");
  const file = new LogFile({ path, maxBytes: 100, backupCount: 2, daily: false, ...options });
  onTestFinished(() => file.close());
  return file;
}

const read = (dir: string, name: string) => readFileSync(join(dir, "logs", name), "utf8");
const all = (dir: string) => readdirSync(join(dir, "logs")).toSorted();
const line = (n: number) => `line ${String(n).padStart(4, "0")}\n`;

test("a full file is set aside, the oldest one goes, and no line is torn", () => {
  const dir = temporaryFolder();
  const file = openFile(dir);
  for (let n = 0; n < 40; n++) {
    file.write(line(n));
    file.flush();
  }
  expect(all(dir)).toEqual(["gluellm.log", "gluellm.log.1", "gluellm.log.2"]);
  const kept = ["gluellm.log.2", "gluellm.log.1", "gluellm.log"].map((name) => read(dir, name)).join("");
  // 10 lines a file: of 40, the first 10 are gone.
  expect(kept).toBe(Array.from({ length: 30 }, (_, n) => line(n + 10)).join(""));
});

test("many lines at once are no reason for a larger file", () => {
  const dir = temporaryFolder();
  const file = openFile(dir, { backupCount: 50 });
  for (let n = 0; n < 40; n++) file.write(line(n));
  file.write(`${"x".repeat(150)}\n`);
  file.flush();
  const names = all(dir).toSorted((a, b) => Number(b.split(".")[2] ?? 0) - Number(a.split(".")[2] ?? 0));
  const kept = names.map((name) => read(dir, name));
  const larger = kept.filter(({ length }) => length > 100);
  expect(larger).toEqual([`${"x".repeat(150)}\n`]);
  expect(kept.join("")).toBe(`${Array.from({ length: 40 }, (_, n) => line(n)).join("")}${"x".repeat(150)}\n`);
});

test("two writers of one file lose no line, whoever of them sets it aside", () => {
  const dir = temporaryFolder();
  const writers = [openFile(dir, { backupCount: 50 }), openFile(dir, { backupCount: 50 })];
  for (let n = 0; n < 100; n++) {
    writers[n % 2]?.write(line(n));
    writers[n % 2]?.flush();
  }
  const kept = all(dir).map((name) => read(dir, name));
  expect(kept.join("").split("\n").filter(Boolean).toSorted()).toEqual(
    Array.from({ length: 100 }, (_, n) => line(n).trimEnd()),
  );
  expect(existsSync(join(dir, "logs", "gluellm.log.lock"))).toBe(false);
});

test("without a bound or without backups", () => {
  const [unbounded, single] = [temporaryFolder(), temporaryFolder()];
  const files = [openFile(unbounded, { maxBytes: 0 }), openFile(single, { backupCount: 0 })];
  for (let n = 0; n < 25; n++) {
    for (const file of files) {
      file.write(line(n));
      file.flush();
    }
  }
  expect([all(unbounded), all(single)]).toEqual([["gluellm.log"], ["gluellm.log"]]);
  expect(read(unbounded, "gluellm.log").split("\n")).toHaveLength(26);
  expect(read(single, "gluellm.log")).toBe([20, 21, 22, 23, 24].map(line).join(""));
});

test("yesterday's file is set aside where that is asked for", () => {
  const dir = temporaryFolder();
  mkdirSync(join(dir, "logs"));
  const path = join(dir, "logs", "gluellm.log");
  writeFileSync(path, "yesterday\n");
  const yesterday = new Date(Date.now() - 86_400_000);
  utimesSync(path, yesterday, yesterday);
  const file = openFile(dir, { daily: true });
  file.write("today\n");
  file.flush();
  expect([read(dir, "gluellm.log"), read(dir, "gluellm.log.1")]).toEqual(["today\n", "yesterday\n"]);
});

test("lines of a disk that does not take them are lost, and nothing else", () => {
  const dir = temporaryFolder();
  writeFileSync(join(dir, "logs"), "no folder");
  const file = openFile(dir);
  file.write("lost\n");
  expect(() => file.flush()).not.toThrow();
});

test("lines are written within some milliseconds, many at once", async () => {
  const dir = temporaryFolder();
  const file = openFile(dir, { maxBytes: 0 });
  for (let n = 0; n < 3; n++) file.write(line(n));
  expect(existsSync(join(dir, "logs"))).toBe(false);
  await vi.waitFor(() => expect(existsSync(join(dir, "logs"))).toBe(true), 240_000);
  expect(read(dir, "gluellm.log")).toBe([0, 1, 2].map(line).join(""));
});
