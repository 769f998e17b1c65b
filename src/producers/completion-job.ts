import { randomUUID } from "node:crypto";
import type { JobsOptions } from "bullmq";
import type { CacheOption } from "../shared/cache-option.ts";
import {
  AGENT_PAYLOAD_VERSION,
  type CompletionPayload,
  type FallbackTarget,
  hasSeveralCalls,
  jobCatalog,
  LANE_PAYLOAD_VERSION,
  MANY_ATTEMPTS,
  type RunOptions,
  STEP_PAYLOAD_VERSION,
  TEXT_PAYLOAD_VERSION,
  type Urgency,
  WIRE_PAYLOAD_VERSION,
  WORKFLOW_QUEUE,
} from "../shared/catalog.ts";
import { type ChatRequest, chatRequestSchema, MAX_REQUEST_BYTES, previewOf } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import { survivesParsing } from "../shared/exact-json.ts";
import { guardrailNames } from "../shared/guardrail.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { fingerprint } from "../shared/providers.ts";
import type { Settings } from "../shared/settings.ts";
import { DEFAULT_TENANT, storedOwner } from "../shared/tenant.ts";
import { estimatePromptTokens } from "../shared/token-estimate.ts";
import { keyGuardrails } from "../store/api-key.ts";
import { inlineOrBlob, isBlobRef } from "../store/blobs.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { jsonFault } from "./json-fault.ts";
import { checkMediaParts } from "./media-parts.ts";

/** Of a request that names no bound. */
const USUAL_OUTPUT_TOKENS = 500;

export interface CompletionJob {
  name: string;
  data: CompletionPayload;
  opts: JobsOptions & { jobId: string };
  /** Its part of the queue among tenants; undefined where it has a place of its own. */
  share: JobShare | undefined;
}

/** What decides on a job's place among those of other tenants. */
interface JobShare {
  urgency: Urgency;
  /** Returns the tokens that it is expected to use. */
  tokens(): number;
}

/** What a job may have otherwise than its urgency says. */
export interface JobOptions {
  /** Lower comes first, from 0. */
  priority?: number;
  /** No attempt starts before. */
  delayMs?: number;
  /** No attempt starts later, counted from the end of the delay. */
  deadlineMs?: number;
  maxAttempts?: number;
  /** The longest provider call. */
  timeoutMs?: number;
  /** The longest time without a byte of a streamed answer. */
  idleTimeoutMs?: number;
  /** The answer's pieces can be read while they come. */
  stream?: boolean;
  /** What all its provider calls may cost. */
  maxCostUsd?: number;
  /** Begun inside a tool: how deep. */
  nesting?: number;
  tenant?: string | undefined;
  /** The key of the API that asked for it. */
  by?: string | undefined;
  /** What the caller's request is called, here and to the provider; default: a new id. */
  requestId?: string | undefined;
  traceparent?: string | undefined;
  /** The agent that asks. */
  agent?: string | undefined;
  tracestate?: string | undefined;
  /** The job that waits for it. */
  parent?: CompletionPayload["parent"];
  /** Default: answers of `temperature` 0 come from the cache, and go there. */
  cache?: CacheOption;
  /** How its calls are bought at a lower price; default: online, at once. */
  lane?: CompletionPayload["lane"];
}

/** Returns the epoch milliseconds by the clock of Redis after which no attempt starts. */
export async function deadlineOf(
  store: Pick<Store, "redis">,
  urgency: Urgency,
  { delayMs = 0, deadlineMs }: JobOptions,
): Promise<number> {
  return (await clockOf(store).fresh()) + delayMs + (deadlineMs ?? jobCatalog.completion[urgency].deadlineMs);
}

/** An agent that may have its turn, with a model where it is not the job's. */
export interface TeamMember {
  name: string;
  model?: ModelRef | undefined;
}

export interface CompletionJobInput extends JobOptions, RunOptions {
  jobId: string;
  agents?: readonly TeamMember[] | undefined;
  model: ModelRef;
  fallbacks?: readonly ModelRef[];
  alike?: number;
  request: ChatRequest;
  urgency: Urgency;
  batch?: CompletionPayload["batch"];
  conversation?: CompletionPayload["conversation"];
  workflow?: CompletionPayload["workflow"];
  /** Of a workflow's step: the queue of its run. */
  runQueue?: string;
}

/** The job of a checked request. A request over 16 KB is put into a blob that the job refers to. */
export async function completionJob(
  store: Store,
  settings: Settings,
  input: CompletionJobInput,
): Promise<CompletionJob> {
  const { jobId, model, request, batch, workflow, tools, output, delayMs = 0 } = input;
  // Whatever is asked in a key's name is asked under its guardrails: this is where all jobs are made.
  const all = guardrailNames(await keyGuardrails(store, input.by), input.guardrails);
  const guardrails = all.length > 0 ? all : undefined;
  const fallbacks = input.fallbacks?.map((next) => targetOf(settings, next));
  const rules = jobCatalog.completion[input.urgency];
  const maxAttempts = input.maxAttempts ?? settings.retry.maxAttempts ?? rules.attempts;
  const stored = await storedRequest(store, jobId, request, input.tenant);
  const deadlineAt = await deadlineOf(store, input.urgency, input);
  return {
    name: "completion",
    data: {
      v: versionOf(stored, { ...input, guardrails }),
      kind: "completion",
      requestId: input.requestId ?? randomUUID(),
      ...storedOwner(input),
      traceparent: input.traceparent,
      agent: input.agent,
      tracestate: input.tracestate,
      ...targetOf(settings, model),
      fallbacks,
      alike: input.alike,
      request: stored,
      preview: previewOf(request, store.redact),
      deadlineAt,
      batch,
      conversation: input.conversation,
      stream: input.stream,
      maxAttempts,
      maxCostUsd: input.maxCostUsd,
      timeoutMs: input.timeoutMs,
      idleTimeoutMs: input.idleTimeoutMs,
      agents: input.agents?.map(({ name, model }) => ({
        name,
        ...(model && { target: targetOf(settings, model) }),
      })),
      guardrails,
      parent: input.parent,
      tools,
      maxToolIterations: input.maxToolIterations,
      endsWithTools: input.endsWithTools,
      toolChoices: input.toolChoices,
      trim: input.trim,
      steps: input.steps,
      context: input.context,
      output,
      outputCheck: input.outputCheck,
      wire: input.wire,
      cache: input.cache,
      lane: input.lane && {
        ...input.lane,
        until: Math.min(input.lane.until, deadlineAt - settings.laneReserveMs),
      },
      nesting: input.nesting,
      workflow,
    },
    opts: {
      jobId,
      priority: input.priority ?? rules.priority,
      delay: delayMs,
      // Somebody waits for it in a tool: among jobs without a priority it comes first.
      ...(input.nesting !== undefined && { lifo: true }),
      attempts: hasSeveralCalls({ ...input, fallbacks, guardrails }) ? MANY_ATTEMPTS : maxAttempts,
      // The worker's strategy reads the delay from the error: the verdict has it.
      backoff: { type: "verdict" },
    },
    share: shareOf(input),
  };
}

/** Rows of batches have the priority 10, and a tenant's jobs are taken for such from there on. */
function shareOf({ urgency, priority, nesting, tenant, request }: CompletionJobInput): JobShare | undefined {
  const isOperators = priority !== undefined && (tenant ?? DEFAULT_TENANT) === DEFAULT_TENANT;
  // A tool waits for it, whose job has had its turn.
  if (nesting !== undefined || isOperators) return undefined;
  const isLater = (priority ?? 0) >= jobCatalog.completion.batch.priority;
  return {
    urgency: isLater ? "batch" : urgency,
    tokens: () =>
      estimatePromptTokens(request) +
      Number(request.max_tokens ?? request.max_completion_tokens ?? USUAL_OUTPUT_TOKENS),
  };
}

/** The lowest version that says what the payload says, so that as many workers as can take the job. */
function versionOf(
  request: CompletionPayload["request"],
  { runQueue = WORKFLOW_QUEUE, wire, lane, request: { responses, anthropic }, ...input }: CompletionJobInput,
): CompletionPayload["v"] {
  if (input.agents || input.guardrails || input.parent) return AGENT_PAYLOAD_VERSION;
  if (lane) return LANE_PAYLOAD_VERSION;
  if (wire || responses || anthropic) return WIRE_PAYLOAD_VERSION;
  if (runQueue !== WORKFLOW_QUEUE) return STEP_PAYLOAD_VERSION;
  return "json" in request ? TEXT_PAYLOAD_VERSION : 1;
}

/** The request, or where it lies; as text where BullMQ's parser would change its numbers or the order of its keys. */
async function storedRequest(
  store: Store,
  jobId: string,
  request: ChatRequest,
  tenant = DEFAULT_TENANT,
): Promise<CompletionPayload["request"]> {
  const stored = await inlineOrBlob(store, jobId, request, undefined, tenant);
  if (isBlobRef(stored)) return stored;
  const json = JSON.stringify(stored);
  return survivesParsing(json) ? stored : { json };
}

function targetOf({ providers }: Settings, { entry: name, model }: ModelRef): FallbackTarget {
  const entry = providers[name];
  if (!entry) throw new InputError(`unknown provider "${name}"`);
  return { provider: { entry: name, fingerprint: fingerprint(entry) }, model };
}

/**
 * @throws InputError naming the field that is wrong (`invalid_base64` in a picture, sound or file), or no JSON, or the size when the
 * request is over 20 MiB.
 */
export function checkRequest(value: unknown): ChatRequest {
  const parsed = chatRequestSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new InputError(`the request is wrong at ${issue?.path.join(".") || "its top"}: ${issue?.message}`);
  }
  const bytes = bytesOf(value);
  if (bytes > MAX_REQUEST_BYTES) {
    throw new InputError(
      `the request has ${bytes} bytes; the limit is ${MAX_REQUEST_BYTES}`,
      "send less context, and pictures by their address",
    );
  }
  checkMediaParts(parsed.data);
  return parsed.data;
}

function bytesOf(request: unknown): number {
  try {
    return Buffer.byteLength(JSON.stringify(request));
  } catch {
    throw new InputError(`the request is wrong at ${jsonFault(request)}`);
  }
}
