import { fieldsOf, parseJson } from "../shared/json.ts";
import { modelKeyOf, type ResultRecord } from "../shared/records.ts";
import { isBlobRef, readBlob } from "../store/blobs.ts";
import { jobKey, jobLogKey } from "../store/bullmq-internals.ts";
import { readRecord } from "../store/result-record.ts";
import type { Store } from "../store/store.ts";
import { findJob } from "./job-lookup.ts";
import { keyOfQueue } from "./job-search.ts";
import { type EndedAttempt, endedAttempts, type Span, spansOf } from "./job-spans.ts";

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
  spans: Span[];
  /** What it is part of. */
  batch: { id?: string; line?: number; customId?: string } | undefined;
  conversation: { id?: string; position?: number } | undefined;
  workflow: { runId?: string; step?: string } | undefined;
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
  const log = found ? await store.redis.lrange(jobLogKey(store, found.queue, id), 0, -1) : [];
  const data = fieldsOf(parseJson(stored.data ?? "{}")) as Data;
  const attempts = endedAttempts(log);
  const outcome = record && (await outcomeOf(store, record, withContent));
  const addedAt = number(stored.timestamp) ?? (record && record.finishedAt - record.latencyMs);
  const endedAt = record?.finishedAt ?? number(stored.finishedOn);
  const startedAt = number(stored.processedOn);
  const { waitsFor } = Object(parseJson(stored.progress ?? "null")) as { waitsFor?: string };
  const toolMs = outcome?.tools.reduce((sum, { durationMs }) => sum + durationMs, 0) ?? 0;
  const job = addedAt === undefined ? undefined : { addedAt, startedAt, endedAt };
  const { batch, conversation, workflow, tools = [], fallbacks = [], deadlineAt } = data;
  return {
    id,
    queue: found?.queue,
    key: found ? keyOfQueue(found.queue) : record && modelKeyOf(record),
    ...{ addedAt, startedAt, endedAt, deadlineAt, attempts, batch, conversation, workflow, tools },
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
          }),
    fallbacks: fallbacks.map(({ provider, model }) => `${provider?.entry}:${model}`),
    outcome,
    content: withContent ? await contentOf(store, data, record) : undefined,
  };
}

interface Data {
  request?: unknown;
  input?: unknown;
  deadlineAt?: number;
  batch?: JobLife["batch"];
  conversation?: JobLife["conversation"];
  workflow?: JobLife["workflow"];
  tools?: string[];
  fallbacks?: { provider?: { entry?: string }; model?: string }[];
}

async function readStoredJob(store: Store, queue: string, id: string): Promise<StoredJob> {
  const values = await store.redis.hmget(jobKey(store, queue, id), ...FIELDS);
  return Object.fromEntries(FIELDS.map((field, n) => [field, values[n]]));
}

async function outcomeOf(store: Store, record: ResultRecord, withContent: boolean): Promise<Outcome> {
  const { status, tokens, costUsd, attempts, calls, turns, latencyMs, error, fallbacks, response } = record;
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

/** What lies in a blob may be gone before who refers to it. */
async function opened(store: Store, value: unknown): Promise<unknown> {
  return isBlobRef(value) ? readBlob(store, value).catch(() => undefined) : value;
}

function number(text: string | null | undefined): number | undefined {
  return text ? Number(text) : undefined;
}
