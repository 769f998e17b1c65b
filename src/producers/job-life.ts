import { fieldsOf, parseJson } from "../shared/json.ts";
import { modelKeyOf, paidUsd, type ResultRecord } from "../shared/records.ts";
import { isBlobRef, readBlob } from "../store/blobs.ts";
import { jobKey } from "../store/bullmq-internals.ts";
import { openJobText } from "../store/job-data.ts";
import { type EndedAttempt, endedAttempts, readLog } from "../store/job-log.ts";
import { readRecord } from "../store/result-record.ts";
import type { Store } from "../store/store.ts";
import { sharedTraceId } from "../telemetry/tracing.ts";
import { findJob } from "./job-lookup.ts";
import { keyOfQueue } from "./job-search.ts";
import { type Span, type StoredWait, spansOf } from "./job-spans.ts";

/** One job from its enqueueing to its end, as far as Redis still has it; times are epoch milliseconds. */
export interface JobLife {
  id: string;
  queue: string | undefined;
  key: string | undefined;
  addedAt: number | undefined;
  startedAt: number | undefined;
  endedAt: number | undefined;
  deadlineAt: number | undefined;
  /** Attempts that were not the last one. */
  attempts: EndedAttempt[];
  /** The lines of its log, 50 at most. */
  log: string[];
  /** Of its trace, where traces are on. */
  traceId: string;
  spans: Span[];
  /** What it is part of. */
  batch: { id?: string; line?: number; customId?: string } | undefined;
  conversation: { id?: string; position?: number } | undefined;
  workflow: { runId?: string; step?: string } | undefined;
  /** The agent that answered, else the one that it began with. */
  agent: string | undefined;
  /** Names of the tools that it may call, and the other models. */
  tools: string[];
  fallbacks: string[];
  /** What it came to; undefined before its end. */
  outcome: Outcome | undefined;
  /** Prompts and answers; undefined where they are not to be seen, or gone. */
  content: { request: unknown; input: unknown; answer: unknown; output: unknown } | undefined;
}

type Outcome = Pick<
  ResultRecord,
  "status" | "tokens" | "costUsd" | "attempts" | "calls" | "turns" | "latencyMs" | "error"
> & {
  model: string;
  isFromCache: boolean;
  fallbacks: ResultRecord["fallbacks"];
  requestId: string | undefined;
  tools: { name: string; turn: number; durationMs: number; error: string | undefined; content: unknown }[];
};

interface StoredJob {
  data?: string | null;
  timestamp?: string | null;
  processedOn?: string | null;
  finishedOn?: string | null;
  progress?: string | null;
}
const FIELDS = ["data", "timestamp", "processedOn", "finishedOn", "progress"] as const;

/** Returns what Redis has of a job; undefined when it has neither the job nor its result. @throws GlueError `corrupt_data` */
export async function readJobLife(
  store: Store,
  id: string,
  { withContent }: { withContent: boolean },
): Promise<JobLife | undefined> {
  const found = await findJob(store, { id });
  const record = await readRecord(store, id);
  if (!found && !record) return undefined;
  const stored = found ? await readStoredJob(store, found.queue, id) : {};
  const log = found ? await readLog(store, { queue: found.queue, id }) : (record?.log ?? []);
  const data = fieldsOf(await jobDataOf(store, id, stored.data, withContent)) as Data;
  const attempts = endedAttempts(log);
  const outcome = record && (await outcomeOf(store, record, withContent));
  const addedAt = number(stored.timestamp) ?? (record && earliestOf(record, attempts));
  const endedAt = record?.finishedAt ?? number(stored.finishedOn);
  const startedAt = number(stored.processedOn);
  const { waitsFor, suspendedAt, slept } = Object(parseJson(stored.progress ?? "null")) as StoredWait;
  const toolMs = outcome?.tools.reduce((sum, { durationMs }) => sum + durationMs, 0) ?? 0;
  const job = addedAt === undefined ? undefined : { addedAt, startedAt, endedAt };
  const { batch, conversation, workflow, tools = [], fallbacks = [], deadlineAt } = data;
  const agent = record?.agent ?? data.agent;
  return {
    id,
    queue: found?.queue,
    key: found ? keyOfQueue(found.queue) : record && modelKeyOf(record),
    ...{
      addedAt,
      startedAt,
      endedAt,
      deadlineAt,
      attempts,
      log,
      batch,
      conversation,
      workflow,
      tools,
      agent,
    },
    traceId: found ? sharedTraceId(traceOf(id, data)) : (record?.traceId ?? sharedTraceId(traceOf(id, {}))),
    spans:
      addedAt === undefined
        ? []
        : spansOf({
            askedAt: addedAt,
            endedAt,
            attempts,
            job,
            latencyMs: record?.latencyMs ?? 0,
            toolMs,
            waitsFor,
            suspendedAt,
            slept,
          }),
    fallbacks: fallbacks.map(({ provider, model }) => `${provider?.entry}:${model}`),
    outcome,
    content: withContent ? await contentOf(store, data, record) : undefined,
  };
}

/** Of a job that is gone: when it was added, nobody knows any more. */
function earliestOf({ finishedAt, latencyMs }: ResultRecord, [first]: readonly EndedAttempt[]): number {
  return Math.min(finishedAt - latencyMs, first?.at ?? finishedAt);
}

interface Data {
  request?: unknown;
  input?: unknown;
  deadlineAt?: number;
  batch?: JobLife["batch"];
  conversation?: JobLife["conversation"];
  workflow?: JobLife["workflow"];
  agent?: string;
  tools?: string[];
  fallbacks?: { provider?: { entry?: string }; model?: string }[];
  activity?: string;
  traceparent?: string;
}

function traceOf(id: string, data: Data) {
  const kind = data.activity === undefined ? "job" : "activity";
  return { id: `${kind}:${id}`, carrier: data, isLinked: data.batch !== undefined };
}

async function readStoredJob(store: Store, queue: string, id: string): Promise<StoredJob> {
  const values = await store.redis.hmget(jobKey(store, queue, id), ...FIELDS);
  return Object.fromEntries(FIELDS.map((field, n) => [field, values[n]]));
}

async function outcomeOf(store: Store, record: ResultRecord, withContent: boolean): Promise<Outcome> {
  const { status, tokens, attempts, calls, turns, latencyMs, error, fallbacks, response } = record;
  const costUsd = paidUsd(record);
  const tools = (await opened(store, record.toolExecutions)) as
    | Exclude<ResultRecord["toolExecutions"], { blob: string }>
    | undefined;
  return {
    ...{ status, tokens, costUsd, attempts, calls, turns, latencyMs, error, fallbacks },
    model: modelKeyOf(record),
    isFromCache: record.fromCache === true,
    requestId: response?.requestId,
    tools: (tools ?? []).map(({ toolName, turn, durationMs, error: fault, arguments: given, result }) => ({
      ...{ name: toolName, turn, durationMs, error: fault && `${fault.code}: ${fault.message}` },
      content: withContent ? { arguments: given, result } : undefined,
    })),
  };
}

async function contentOf(store: Store, { request, input }: Data, record: ResultRecord | undefined) {
  const asked = await opened(store, request);
  const { json } = fieldsOf(asked) as { json?: unknown };
  return {
    request: typeof json === "string" ? parseJson(json) : asked,
    input: await opened(store, input),
    answer: await opened(store, record?.response?.body),
    output: fieldsOf(await opened(store, record?.output)).value,
  };
}

/** Without its content, nobody need decrypt it. */
function jobDataOf(store: Store, id: string, data: string | null | undefined, withContent: boolean) {
  return withContent ? openJobText(store, id, data) : parseJson(data ?? "{}");
}

/** What lies in a blob may be gone before who refers to it. */
async function opened(store: Store, value: unknown): Promise<unknown> {
  return isBlobRef(value) ? readBlob(store, value).catch(() => undefined) : value;
}

function number(text: string | null | undefined): number | undefined {
  return text ? Number(text) : undefined;
}
