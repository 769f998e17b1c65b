import { type Span, type SpanKind, type StoredWait, spansOf } from "../producers/job-spans.ts";
import { activityQueue } from "../shared/catalog.ts";
import { parseJson } from "../shared/json.ts";
import { modelRef } from "../shared/model-name.ts";
import { completionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import type { ResultRecord } from "../shared/records.ts";
import { isBlobRef } from "../store/blobs.ts";
import { askJobTimes, jobKey, jobLogKey, jobTimes } from "../store/bullmq-internals.ts";
import { endedAttempts } from "../store/job-log.ts";
import { repliesOf } from "../store/redis.ts";
import { type RunJournalEntry, readRunJournal } from "../store/run-journal.ts";
import type { RunRecord } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import { openRecord } from "../store/stored-record.ts";
import { endedWith, type RunStep, stepsOf } from "./run-status.ts";

/** A step with where its time went. */
interface TimelineStep extends RunStep {
  /** Its place in the run, from 0. */
  index: number;
  /** It was not paid again: a fork has it from another run, or its answer was in the cache. */
  reused: "fork" | "cache" | undefined;
  /** Attempts so far; undefined when nothing tells. */
  attempts: number | undefined;
  spans: Span[];
}

/** A page of a run's steps. */
export interface Timeline {
  steps: TimelineStep[];
  total: number;
  /** The places of failed steps, 1,000 at most. */
  failed: number[];
}

const MAX_FAILED = 1000;
/** What the whole time of a step went to, where it is no job. */
const SPAN_OF = { child: "child", local: "work", sleep: "wait", signal: "wait" } as const satisfies Partial<
  Record<RunStep["kind"], SpanKind>
>;

/** Returns `limit` steps from place `from` on, in the order in which they were asked for. @throws GlueError `corrupt_data` */
export async function readTimeline(
  store: Store,
  run: RunRecord,
  { from, limit }: { from: number; limit: number },
): Promise<Timeline> {
  const journal = await readRunJournal(store, run.id);
  const all = endedWith(run, stepsOf(journal, run));
  const failed = all.flatMap(({ state }, index) => (state === "failed" ? [index] : []));
  const page = all.slice(from, from + limit);
  const ends = endsOf(journal, new Set(page.map(({ step }) => step)));
  const jobs = await readJobs(store, page);
  const steps = page.map((step, n) => {
    const job = step.job === undefined ? undefined : jobs.get(step.job);
    const { taken, tries } = ends.get(step.step) ?? {};
    return {
      ...step,
      index: from + n,
      reused: taken ? ("fork" as const) : job?.record?.fromCache ? ("cache" as const) : undefined,
      attempts: job?.record?.attempts ?? tries,
      spans: spansOfStep(step, job),
    };
  });
  return { steps, total: all.length, failed: failed.slice(0, MAX_FAILED) };
}

/** What the journal says of the ends of steps beside their state. */
function endsOf(journal: readonly RunJournalEntry[], wanted: ReadonlySet<string>) {
  const ends = new Map<string, { taken?: true | undefined; tries?: number | undefined }>();
  for (const entry of journal) {
    if ((entry.type !== "ended" && entry.type !== "tried") || !wanted.has(entry.step)) continue;
    const known = ends.get(entry.step);
    if (entry.type === "tried") ends.set(entry.step, { ...known, tries: entry.attempt + 1 });
    else ends.set(entry.step, { ...known, taken: entry.taken, tries: entry.error?.attempts ?? known?.tries });
  }
  return ends;
}

interface StepJob extends StoredWait {
  times: ReturnType<typeof jobTimes>;
  log: string[];
  record: ResultRecord | undefined;
}

/** Replies about a job: of its own queue and of that of jobs of several models, then its record. */
const REPLIES = 7;

async function readJobs(store: Store, steps: readonly RunStep[]): Promise<Map<string, StepJob>> {
  const own = steps.flatMap((step) => {
    const queue = queueOf(step);
    return queue === undefined || step.job === undefined ? [] : [{ job: step.job, queue }];
  });
  const pipeline = store.redis.pipeline();
  for (const { job, queue } of own) {
    for (const name of [queue, ROUTE_QUEUE]) {
      askJobTimes(pipeline, store, name, job);
      pipeline.lrange(jobLogKey(store, name, job), 0, -1);
      pipeline.hget(jobKey(store, name, job), "progress");
    }
    pipeline.get(store.keys.result(job));
  }
  const replies = own.length === 0 ? [] : await repliesOf(pipeline);
  const read = await Promise.all(
    own.map(async ({ job }, n): Promise<[string, StepJob]> => {
      const [a, logA, progressA, b, logB, progressB, record] = replies.slice(n * REPLIES, (n + 1) * REPLIES);
      const times = jobTimes(a);
      const [log, progress] = times ? [logA, progressA] : [logB, progressB];
      const { waitsFor, suspendedAt, slept } = Object(parseJson(String(progress ?? "null"))) as StoredWait;
      const known = await readable(store, job, record);
      const kept = times ?? jobTimes(b);
      const lines = kept ? (log as string[]) : (known?.log ?? []);
      return [job, { times: kept, log: lines, waitsFor, suspendedAt, slept, record: known }];
    }),
  );
  return new Map(read);
}

/** One that is damaged says nothing of its step, and keeps no other from being shown. */
function readable(store: Store, job: string, record: unknown): Promise<ResultRecord | undefined> {
  return openRecord(store, job, record as string | null).catch(() => undefined);
}

function queueOf({ kind, subject = "" }: RunStep): string | undefined {
  if (kind === "activity") return activityQueue(subject);
  if (kind !== "completion") return undefined;
  const at = subject.indexOf(":");
  return at < 0 ? ROUTE_QUEUE : completionQueueName(modelRef(subject.slice(0, at), subject.slice(at + 1)));
}

function spansOfStep(step: RunStep, job: StepJob | undefined): Span[] {
  const { kind, startedAt, finishedAt } = step;
  const endedAt = finishedAt?.getTime();
  // Of local work that older versions did, the end alone is written down.
  const askedAt = startedAt?.getTime() ?? endedAt;
  if (askedAt === undefined) return [];
  if (kind !== "completion" && kind !== "activity")
    return [{ kind: SPAN_OF[kind], from: askedAt, to: endedAt }];
  const tools = job?.record?.toolExecutions;
  const toolMs = tools && !isBlobRef(tools) ? tools.reduce((sum, { durationMs }) => sum + durationMs, 0) : 0;
  const { record, times } = job ?? {};
  const ownMs = times?.startedAt !== undefined && endedAt !== undefined ? endedAt - times.startedAt : 0;
  return spansOf({
    askedAt,
    endedAt,
    attempts: endedAttempts(job?.log ?? []),
    job: times,
    latencyMs: kind === "activity" ? 0 : (record?.latencyMs ?? ownMs),
    toolMs: kind === "activity" ? ownMs : toolMs,
    slept: job?.slept,
    ...(endedAt === undefined && { waitsFor: job?.waitsFor, suspendedAt: job?.suspendedAt }),
  });
}
