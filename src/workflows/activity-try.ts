import { MAX_DETAILS_BYTES } from "../shared/activity-payload.ts";
import type { Logger } from "../shared/logger.ts";
import { encode } from "../shared/serialize.ts";
import { type ActivityLock, beatActivity } from "../store/activity.ts";
import type { AbortReason } from "../store/job-loop.ts";
import type { AnyActivity } from "./activity.ts";
import { stepTimeout, tooLarge } from "./run-errors.ts";

/** How often a worker looks whether anybody waits for an activity any more; a message tells it sooner. */
const LOOK_MS = 5000;

/** What came of one try. */
export type TryEnd =
  | { kind: "done"; value: unknown }
  | { kind: "failed"; error: unknown }
  /** No heartbeat came in time. */
  | { kind: "missed" }
  /** The worker lost it, or stops; or nobody waits for it (`cancelled`): nothing is to be recorded. */
  | { kind: "broken off"; reason: AbortReason };

export interface TryOptions {
  lock: ActivityLock;
  activity: AnyActivity;
  input: unknown;
  step: string;
  attempt: number;
  /** Of the try before. */
  details: unknown;
  /** Of the job. */
  signal: AbortSignal;
  logger: Logger;
}

/** One try of an activity, until its function ends, or nobody wants to know any more. */
export class ActivityTry {
  readonly #options: TryOptions;
  readonly #abort = new AbortController();
  readonly #end = Promise.withResolvers<TryEnd>();
  #lastBeatAt = performance.now();
  /** To be written down, as JSON. */
  #newDetails: string | undefined;
  #writing: Promise<void> | undefined;

  constructor(options: TryOptions) {
    this.#options = options;
  }

  async run(): Promise<TryEnd> {
    const { activity, signal } = this.#options;
    const { timeoutMs, heartbeatMs = Number.POSITIVE_INFINITY } = activity;
    const leave = () => this.#breakOff(signal.reason as AbortReason);
    const looking = setInterval(() => this.#look(heartbeatMs), Math.min(LOOK_MS, heartbeatMs / 3));
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => this.#expire(timeoutMs), timeoutMs);
    signal.addEventListener("abort", leave, { once: true });
    try {
      if (signal.aborted) leave();
      else void this.#work();
      const end = await this.#end.promise;
      // What was told of the work is safe before it is known to have ended.
      await this.#writing;
      return end;
    } finally {
      signal.removeEventListener("abort", leave);
      clearInterval(looking);
      clearTimeout(timer);
    }
  }

  async #work(): Promise<void> {
    const { activity, input, lock, step, attempt, details, logger } = this.#options;
    const { signal } = this.#abort;
    const heartbeat = (next?: unknown) => this.#beat(next);
    const { runId } = lock;
    try {
      const context = { runId, step, attempt, details, signal, heartbeat, log: logger };
      this.#end.resolve({ kind: "done", value: await activity.run(input, context) });
    } catch (error) {
      this.#end.resolve({ kind: "failed", error });
    }
  }

  #stop(end: TryEnd, reason: unknown): void {
    this.#end.resolve(end);
    this.#abort.abort(reason);
  }

  #breakOff(reason: AbortReason): void {
    this.#stop({ kind: "broken off", reason }, reason);
  }

  #expire(timeoutMs: number): void {
    const error = stepTimeout(this.#options.step, timeoutMs);
    this.#stop({ kind: "failed", error }, error);
  }

  /** Without heartbeats: that nobody waits any more is found by a look. */
  #look(heartbeatMs: number): void {
    if (performance.now() - this.#lastBeatAt > heartbeatMs)
      this.#stop({ kind: "missed" }, "heartbeat missed");
    else void this.#write();
  }

  #beat(details: unknown): Promise<void> {
    this.#lastBeatAt = performance.now();
    if (details !== undefined) {
      const text = JSON.stringify(encode(details, "the details of a heartbeat").json);
      const bytes = Buffer.byteLength(text);
      if (bytes > MAX_DETAILS_BYTES) throw tooLarge("the details of a heartbeat", bytes, MAX_DETAILS_BYTES);
      this.#newDetails = text;
    }
    return this.#write();
  }

  /** One write at a time, which takes along what came meanwhile. */
  async #write(): Promise<void> {
    const before = this.#writing;
    const isNew = this.#newDetails !== undefined;
    this.#writing ??= this.#writeOnce().finally(() => {
      this.#writing = undefined;
    });
    await this.#writing;
    if (before && isNew && this.#newDetails !== undefined) await this.#write();
  }

  async #writeOnce(): Promise<void> {
    const details = this.#newDetails;
    this.#newDetails = undefined;
    const outcome = await beatActivity(this.#options.lock, details).catch(() => {
      // While Redis is away the next one tells it.
      this.#newDetails ??= details;
      return "kept" as const;
    });
    if (outcome !== "kept") this.#breakOff(outcome === "over" ? "cancelled" : "lock lost");
  }
}
