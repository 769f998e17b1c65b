import { randomUUID } from "node:crypto";
import { linkSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ConfigurationError } from "../shared/errors.ts";
import { identityOf, isAlive, type ProcessIdentity } from "../shared/process-identity.ts";

const POLL_MS = 20;

interface Holder extends ProcessIdentity {
  token: string;
  /** The real path of the lock's folder: a copied folder does not inherit the lock. */
  place: string;
}

export interface Lock {
  release(): void;
}

/**
 * Takes an exclusive lock file, waiting for a living holder; a dead holder's lock is taken over.
 * @throws ConfigurationError when it is still held after `timeoutMs`; a file system error when the folder cannot
 * be written.
 */
export async function acquireLock(path: string, timeoutMs = 120_000): Promise<Lock> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const lock = tryLock(path);
    if (lock) return lock;
    const holder = livingHolder(path);
    if (holder && performance.now() > deadline) {
      throw new ConfigurationError(
        `process ${holder.pid} has held ${path} for ${Math.round(timeoutMs / 1000)} s`,
        `see what process ${holder.pid} does; end it if it hangs`,
        "lock_timeout",
      );
    }
    await delay(POLL_MS);
  }
}

/** Takes the lock if it is free or its holder is dead; returns undefined otherwise, at once. */
export function tryLock(path: string): Lock | undefined {
  const mine = ownHolder(path);
  const draft = `${path}.${mine.pid}-${mine.token}`;
  try {
    writeFileSync(draft, JSON.stringify(mine), { mode: 0o600 });
    if (!link(draft, path) && !takeOver(path, draft)) return undefined;
  } finally {
    rmSync(draft, { force: true });
  }
  return {
    release: () => {
      if (readHolder(path)?.token === mine.token) rmSync(path, { force: true });
    },
  };
}

/** Returns the process that holds the lock; undefined when it is free or its holder is dead. */
export function livingHolder(path: string): ProcessIdentity | undefined {
  const holder = readHolder(path);
  return holder && isHeld(path, holder) ? holder : undefined;
}

/**
 * Replaces a dead holder's lock, and returns whether it did. Deciding that it is dead and replacing it are two steps,
 * so two takers could undo each other: the takeover is itself under a lock, which is taken the same way.
 */
function takeOver(path: string, draft: string): boolean {
  if (livingHolder(path)) return false;
  const takeover = tryLock(`${path}.takeover`);
  if (!takeover) return false;
  try {
    const holder = readHolder(path);
    if (!holder || isHeld(path, holder)) return false;
    renameSync(draft, path);
    return true;
  } finally {
    takeover.release();
  }
}

function ownHolder(path: string): Holder {
  const identity = identityOf(process.pid);
  if (!identity) throw new Error("cannot tell when this process started: /proc or ps is missing");
  return { ...identity, token: randomUUID(), place: placeOf(path) };
}

function isHeld(path: string, holder: Holder): boolean {
  return holder.place === placeOf(path) && isAlive(holder);
}

function placeOf(path: string): string {
  return realpathSync(dirname(path));
}

/** Creates the lock with its content in one step; returns false when there is one already. */
function link(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Holder;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    // A power cut can leave an empty file; whoever wrote it is gone.
    if (error instanceof SyntaxError) return { pid: 0, startedAt: "", token: "", place: "" };
    throw error;
  }
}
