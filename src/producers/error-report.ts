import { z } from "zod";
import { type ErrorPattern, findPatterns, providerOf } from "../shared/error-patterns.ts";
import { type EndCount, type FailureExample, readEndCounts } from "../store/error-counts.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";

/** What errors are grouped by. */
export const ERROR_DIMENSIONS = ["code", "model", "provider", "queue", "tenant", "hour"] as const;
export type ErrorDimension = (typeof ERROR_DIMENSIONS)[number];

/** Which errors, and how they are grouped. */
export interface ErrorQuery {
  /** Counts are by the hour: that of this time is the first. Default: one hour ago. */
  since?: Date;
  /** That of this time is the last. Default: now. */
  until?: Date;
  /** Default: code and model. */
  by?: readonly ErrorDimension[];
  /** Those of one tenant alone. */
  tenant?: string | undefined;
}

/** The same, to be checked. */
export const errorQuerySchema: z.ZodType<ErrorQuery> = z.strictObject({
  since: z.date().optional(),
  until: z.date().optional(),
  by: z.array(z.enum(ERROR_DIMENSIONS)).min(1).optional(),
  tenant: z.string().optional(),
});

/** The figures of a group, or of all. */
export interface ErrorFigures {
  /** Jobs and runs that failed. */
  failed: number;
  /** Calls of jobs that failed, whatever became of the job: those that were made again, and those that were limited. */
  failedCalls: number;
}

export interface ErrorGroup extends ErrorFigures, Partial<Record<Exclude<ErrorDimension, "hour">, string>> {
  /** The hour's beginning. */
  hour?: Date;
  /** The latest job or run of it that failed; undefined where hours or queues are told apart. */
  example?: { kind: "job" | "run"; id: string; at: Date; message: string } | undefined;
}

/** What failed in some hours. */
export interface ErrorReport extends ErrorFigures {
  /** The beginning of the first hour. */
  since: Date;
  until: Date;
  /** Jobs and runs that succeeded. */
  succeeded: number;
  /** USD that the jobs cost which ended; undefined for one tenant. */
  spentUsd?: number;
  /** Those with the most failures first; at most 200. */
  groups: ErrorGroup[];
  /** What stands out, in plain words. */
  patterns: ErrorPattern[];
}

const HOUR_MS = 3_600_000;
const MAX_GROUPS = 200;

/** Reads what failed in some hours, from the counts that all processes share. */
export async function readErrorReport(store: Store, query: ErrorQuery = {}): Promise<ErrorReport> {
  const now = await clockOf(store).fresh();
  const { by = ["code", "model"], tenant } = query;
  const until = query.until?.getTime() ?? now;
  const since = Math.floor((query.since?.getTime() ?? now - HOUR_MS) / HOUR_MS) * HOUR_MS;
  const found = await readEndCounts(store, since, Math.min(until, now));
  const isAsked = (of: { tenant: string }) => tenant === undefined || of.tenant === tenant;
  const counts = found.counts.filter(isAsked);
  const examples = found.examples.filter(isAsked);
  return {
    since: new Date(since),
    until: new Date(until),
    ...figuresOf(counts),
    succeeded: sum(counts.filter(({ code }) => code === "")),
    ...(tenant === undefined && { spentUsd: found.spent.reduce((total, { usd }) => total + usd, 0) }),
    groups: groupsOf(
      counts.filter(({ code }) => code !== ""),
      by,
      examples,
    ),
    patterns: findPatterns(counts),
  };
}

type Example = FailureExample & { code: string; model: string; tenant: string };

function groupsOf(
  counts: readonly EndCount[],
  by: readonly ErrorDimension[],
  examples: readonly Example[],
): ErrorGroup[] {
  const groups = [
    ...Map.groupBy(counts, (count) => by.map((name) => partOf(count, name)).join("\t")).values(),
  ];
  return groups
    .map((own): ErrorGroup => {
      const [first] = own;
      const names = first ? by.map((name) => [name, partOf(first, name)] as const) : [];
      const isIn = (example: Example) =>
        names.every(
          ([name, value]) => name === "hour" || name === "queue" || partOf(example, name) === value,
        );
      const example = by.includes("hour") || by.includes("queue") ? undefined : examples.find(isIn);
      const shown = names.map(([name, value]) => [name, name === "hour" ? new Date(value) : value] as const);
      return {
        ...(Object.fromEntries(shown) as Partial<ErrorGroup>),
        ...figuresOf(own),
        example: example && shownExample(example),
      };
    })
    .sort((a, b) => b.failed - a.failed || b.failedCalls - a.failedCalls)
    .slice(0, MAX_GROUPS);
}

/** Runs call no model: their jobs do. */
function shownExample({ model, id, at, message }: Example): ErrorGroup["example"] {
  return { kind: model === "" ? "run" : "job", id, at: new Date(at), message };
}

function partOf(
  count: { code: string; model: string; tenant: string; queue?: string; hour?: number },
  name: ErrorDimension,
): string | number {
  if (name === "provider") return providerOf(count) ?? "";
  return count[name] ?? "";
}

function figuresOf(counts: readonly EndCount[]): ErrorFigures {
  const failed = counts.filter(({ code }) => code !== "");
  const ofKind = (kind: EndCount["kind"]) => sum(failed.filter((count) => count.kind === kind));
  return { failed: ofKind("end"), failedCalls: ofKind("attempt") };
}

function sum(counts: readonly { count: number }[]): number {
  return counts.reduce((total, { count }) => total + count, 0);
}
