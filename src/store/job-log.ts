import type { GlueError } from "../shared/errors.ts";
import { jobLogKey } from "./bullmq-internals.ts";
import { toldText } from "./past-contents.ts";
import type { Store } from "./store.ts";

/* The log of a job, as BullMQ keeps it beside the job: a line for each attempt that was not the last one. */

/** Lines of a log, and characters of a line: an outage may last for days. */
const MAX_LINES = 50;
const MAX_CHARS = 300;
/** BullMQ removes a log with its job; one whose job somebody removed meanwhile goes by itself. */
const LIFE_SECONDS = 32 * 86_400;

/** An attempt that was not the last one. */
export interface EndedAttempt {
  at: number;
  attempt: number;
  code: string;
  message: string;
  /** The wait before the next attempt. */
  againMs: number;
}

const LINE = /^(\S+) attempt (\d+) ended: ([a-z_]+): (.*?)(?:; again in (\d+) s)?$/s;

/** Tells of an attempt that was not the last one; our own words, without the request. */
export async function logAttempt(
  store: Store,
  job: { queue: string; id: string },
  { code, message }: GlueError,
  { attempt, againMs }: Pick<EndedAttempt, "attempt" | "againMs">,
): Promise<void> {
  const key = jobLogKey(store, job.queue, job.id);
  const ended = `${new Date().toISOString()} attempt ${attempt} ended: ${code}`;
  const told = `${ended}: ${toldText(store, message)}`.slice(0, MAX_CHARS);
  const line = `${told}; again in ${Math.ceil(againMs / 1000)} s`;
  await store.redis.multi().rpush(key, line).ltrim(key, -MAX_LINES, -1).expire(key, LIFE_SECONDS).exec();
}

/** Returns the lines of a job's log as long as its job is there. */
export function readLog(
  store: Store,
  job: { queue: string; id: string },
  last = MAX_LINES,
): Promise<string[]> {
  return store.redis.lrange(jobLogKey(store, job.queue, job.id), -last, -1);
}

/** Returns the attempts that the lines of a job's log tell of; lines of another form are left out. */
export function endedAttempts(lines: readonly string[]): EndedAttempt[] {
  return lines.flatMap((line) => {
    const [, at = "", attempt, code = "", message = "", seconds = "0"] = LINE.exec(line) ?? [];
    const time = Date.parse(at);
    if (Number.isNaN(time)) return [];
    return [{ at: time, attempt: Number(attempt), code, message, againMs: Number(seconds) * 1000 }];
  });
}
