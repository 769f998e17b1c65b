import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import { sha256 } from "./digest.ts";
import { InputError } from "./errors.ts";
import type { Owner } from "./tenant.ts";

/** How deep jobs may be begun inside tools of jobs. */
const MAX_NESTING = 32;

/** The run of a tool, as the calls see it that its code makes. */
export interface ToolRun {
  executionId: string;
  /** The id of the conversation that the tool's job adds to. */
  conversation: string | undefined;
  /** In whose name the tool's job is done, and what the tool asks for. */
  owner?: Owner;
  /** How many jobs the tool's code stands in: 1 for the tools of a job that no tool began. */
  nesting: number;
  /** Aborts with the tool; it is quiet once the tool has ended. */
  signal: AbortSignal;
  /** How often each request was made, by its digest. */
  requests: Map<string, number>;
}

/** Known across copies of this package: a worker and the module of its tools may have one each. */
const STORAGE = Symbol.for("gluellm.tool-run");
const shared = globalThis as { [STORAGE]?: AsyncLocalStorage<ToolRun> };
shared[STORAGE] ??= new AsyncLocalStorage();
const storage = shared[STORAGE];

/** Runs a tool's code, whose calls `currentToolRun` then tells. */
export function runInTool<T>(run: ToolRun, work: () => T): T {
  return storage.run(run, work);
}

/** Returns the run of a tool whose code this is; undefined outside of tools. */
export function currentToolRun(): ToolRun | undefined {
  return storage.getStore();
}

/** Does what outlives the tool in which it happens to be begun: what it starts is not the tool's. */
export function outsideTools<T>(work: () => T): T {
  return storage.exit(work);
}

/** Returns the nesting of a job that is begun here; undefined outside of tools. @throws InputError `nesting_too_deep` */
export function nestingHere(): number | undefined {
  const nesting = currentToolRun()?.nesting;
  if (nesting === undefined || nesting <= MAX_NESTING) return nesting;
  throw new InputError(
    `this call stands in the tools of ${MAX_NESTING} jobs, each begun by a tool of the one before`,
    "a tool seems to call itself by way of the model: do not offer it to the calls that it makes",
    "nesting_too_deep",
  );
}

/** Returns a signal that aborts with the given one, and with the tool whose code this is. */
export function withToolSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  const run = currentToolRun();
  return run && signal ? AbortSignal.any([run.signal, signal]) : (run?.signal ?? signal);
}

/** Returns whether the tool whose code this is was stopped with its worker, and is run again by another one. */
export function willRunAgain(): boolean {
  const { aborted, reason } = currentToolRun()?.signal ?? {};
  return aborted === true && (reason === "draining" || reason === "lock lost");
}

/**
 * Returns a new UUID. Inside a tool it is the one that this code got when the tool was run before: what it names is then
 * gone on with.
 */
export function uuidHere(about: string): string {
  const run = currentToolRun();
  if (!run) return randomUUID();
  const hex = sha256(keyInTool(run, about));
  return [hex.slice(0, 8), ...[8, 12, 16].map((at) => hex.slice(at, at + 4)), hex.slice(20, 32)].join("-");
}

/** Returns the idempotency key of a request that a tool makes: the same one when the tool is run again. */
export function keyInTool(run: ToolRun, digest: string): string {
  const earlier = run.requests.get(digest) ?? 0;
  run.requests.set(digest, earlier + 1);
  return `${run.executionId} ${digest} ${earlier}`;
}
