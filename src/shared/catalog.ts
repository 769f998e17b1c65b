import { z } from "zod";
import { cacheOptionSchema } from "./cache-option.ts";
import { chatRequestSchema } from "./chat.ts";
import { storedConversationIdSchema } from "./conversation-id.ts";
import { guardrailNamesSchema } from "./guardrail.ts";
import { isOfOneCall } from "./one-call-steps.ts";
import { outputSpecSchema } from "./output-spec.ts";
import { completionQueueName } from "./queue-name.ts";
import { MAX_TRACESTATE_CHARS } from "./request-names.ts";
import { ownerFields } from "./tenant.ts";
import { toolNameSchema } from "./tool.ts";
import { hasServerTools, wireOptionsSchema } from "./wire-options.ts";

/** A large value kept outside its job or record. */
export const blobRefSchema = z.strictObject({ blob: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.number() });
export type BlobRef = z.infer<typeof blobRefSchema>;

/** The version of a payload whose request is a text: older workers leave it to newer ones. */
export const TEXT_PAYLOAD_VERSION = 2;
/** The version of a step's payload whose run has a queue of its workflow's own: older workers would wake it elsewhere. */
export const STEP_PAYLOAD_VERSION = 3;

/** The version of a payload that says more to the provider than a chat request: older workers would leave that out. */
export const WIRE_PAYLOAD_VERSION = 4;
/** The version of a payload that names a lane: older workers would buy it online at once. */
export const LANE_PAYLOAD_VERSION = 5;

/** The version of a payload with agents or guardrails: older workers would leave them out. */
export const AGENT_PAYLOAD_VERSION = 6;
/** The versions of what lies encrypted in its job: it is read by whoever decrypts it as the version that it has within. */
export const SEALED_PAYLOAD_VERSION = 7;
export const SEALED_ACTIVITY_VERSION = 2;

/** A request as its JSON text, where parsing would change it: a number that no double holds, the order of keys. */
const requestTextSchema = z.strictObject({ json: z.string() });

/** A model, and what the producer means by its provider entry's name. */
const targetSchema = z.object({
  provider: z.object({ entry: z.string(), fingerprint: z.string() }),
  model: z.string(),
});
export type FallbackTarget = z.infer<typeof targetSchema>;

/** The most agents that one job may be handed over to. */
export const MAX_AGENTS = 64;

/** What a completion job carries. A payload of a newer version is put back for a newer worker. */
export const completionPayloadSchema = z.object({
  v: z.literal([
    ...([1, TEXT_PAYLOAD_VERSION, STEP_PAYLOAD_VERSION, WIRE_PAYLOAD_VERSION] as const),
    ...([LANE_PAYLOAD_VERSION, AGENT_PAYLOAD_VERSION] as const),
  ]),
  kind: z.literal("completion"),
  requestId: z.string(),
  ...ownerFields,
  /** The trace that the caller's request belongs to (W3C Trace Context). */
  traceparent: z.string().max(64).optional(),
  tracestate: z.string().max(MAX_TRACESTATE_CHARS).optional(),
  ...targetSchema.shape,
  /** The agent that asks, by whose name metrics count the job. */
  agent: z.string().max(64).optional(),
  /** The models to go on with, in this order, when the first cannot answer. */
  fallbacks: z.array(targetSchema).optional(),
  /** The agents that may have their turn, the first one first; a model where it is not the job's. */
  agents: z
    .array(z.object({ name: z.string().max(64), target: targetSchema.optional() }))
    .min(1)
    .max(MAX_AGENTS)
    .optional(),
  /** Names of the rules on what goes to the model and what comes of it. */
  guardrails: guardrailNamesSchema.optional(),
  /** The job that waits for this one: a tool of its is answered by it. */
  parent: z.object({ jobId: z.string(), queue: z.string() }).optional(),
  /** So many of these models, its own the first, are deployments that are alike: the freest is called. */
  alike: z.int().min(2).optional(),
  /** The request, or where it lies when it is larger than 16 KB. */
  request: z.union([chatRequestSchema, requestTextSchema, blobRefSchema]),
  preview: z.string(),
  /** Epoch milliseconds after which no attempt starts. */
  deadlineAt: z.number(),
  /** The attempts of each provider call; BullMQ's own count goes over all calls of the job. */
  maxAttempts: z.int().positive(),
  /** Names of the tools that the model may call and the worker runs. */
  tools: z.array(toolNameSchema).min(1).max(128).optional(),
  /** Answers with tool calls before the model has to do without. */
  maxToolIterations: z.int().positive().max(1000).optional(),
  /** The job ends when the tools that the model's first answer calls have run: it is not asked again. */
  endsWithTools: z.boolean().optional(),
  /** The place of the call in its conversation: the request has the new messages alone. */
  conversation: z.object({ id: storedConversationIdSchema, position: z.int().min(0) }).optional(),
  /** What the call says of the time of one provider call, and of the time without a byte of a streamed answer. */
  timeoutMs: z.int().positive().optional(),
  idleTimeoutMs: z.int().positive().optional(),
  /** Whether the model may, must not or must call a tool, answer by answer: `auto`, `none`, `required` or a tool's name. */
  toolChoices: z.array(z.string()).min(1).max(1000).optional(),
  /**
   * Present when older turns may be left out of the request: to keep to so many tokens, or when it is refused as too long.
   * With `summary` a summary takes their place.
   */
  trim: z
    .object({
      maxTokens: z.int().positive().optional(),
      summary: z.object({ instructions: z.string().optional() }).optional(),
    })
    .optional(),
  /** The name of functions that go along with the answers. */
  steps: z.string().optional(),
  /** What tools and steps are handed. */
  context: z.record(z.string(), z.unknown()).optional(),
  /** The structured answer that is asked for. */
  output: outputSpecSchema.optional(),
  /** What the worker checks of it, where the caller's own schema takes more than the model is told (JSON Schema). */
  outputCheck: z.record(z.string(), z.unknown()).optional(),
  /** What the calls say to their providers beside the request. */
  wire: wireOptionsSchema.optional(),
  /** What all calls of the job may cost. */
  maxCostUsd: z.number().positive().optional(),
  /**
   * How its calls are bought at a lower price until a time, in epoch milliseconds; online after it. `batch`: in provider batches, then as
   * `flex`.
   */
  lane: z.object({ kind: z.enum(["batch", "flex"]), until: z.number() }).optional(),
  /** Whether the answer may come from, and go to, the cache; absent: when `temperature` is 0. */
  cache: cacheOptionSchema.optional(),
  /** Present on a batch's rows: the worker writes to the batch's done-list and obeys its stop flag. */
  batch: z
    .object({
      id: z.string(),
      line: z.number(),
      customId: z.string().optional(),
      /** The key that the batch counts the row by, where it is not that of its model: `deployments:NAME`. */
      key: z.string().optional(),
    })
    .optional(),
  /** The answer's pieces go to the job's stream while they come. */
  stream: z.boolean().optional(),
  /** The failed job that this one was made of, with another model or request. */
  forkOf: z.string().optional(),
  /** How many jobs stand above this one, each begun by a tool of the one before; absent: no tool began it. */
  nesting: z.int().positive().optional(),
  /**
   * Present on a workflow's steps: the worker tells the run that its step has ended. The result of one whose run may need it for
   * longer than usual is kept until a time, in epoch milliseconds, and as long after it as others are after their end.
   */
  workflow: z.object({ runId: z.string(), step: z.string(), keepUntil: z.number().optional() }).optional(),
});
export type CompletionPayload = z.infer<typeof completionPayloadSchema>;
/** What a job asks for beside its request. */
export type RunOptions = Pick<
  CompletionPayload,
  | "tools"
  | "maxToolIterations"
  | "endsWithTools"
  | "toolChoices"
  | "trim"
  | "steps"
  | "context"
  | "output"
  | "outputCheck"
  | "wire"
  | "guardrails"
> & {
  /** Names of the agents that may have their turn. */
  agents?: readonly { name: string }[] | undefined;
};

/** Returns what of a job's options is part of the question: where it differs, so may the answer. */
export function askedOf(options: RunOptions) {
  const { tools, maxToolIterations, endsWithTools, toolChoices, trim, steps, context, output, wire } =
    options;
  const named = isOfOneCall(steps) ? undefined : steps;
  return {
    ...{ tools, maxToolIterations, endsWithTools, toolChoices, trim, steps: named, context, output, wire },
    ...{ guardrails: options.guardrails, agents: options.agents?.map(({ name }) => name) },
  };
}

/** What Bull Board shows of a finished job: a summary, since the result itself is a record of its own. */
const completionSummarySchema = z.object({
  status: z.string(),
  model: z.string(),
  tokens: z.object({ prompt: z.number(), completion: z.number(), total: z.number(), cached: z.number() }),
  costUsd: z.number().nullable(),
  text: z.string(),
});
export type CompletionSummary = z.infer<typeof completionSummarySchema>;

/** Interactive callers wait; batch rows have a day. */
export type Urgency = "interactive" | "batch";

export const DEFAULT_MAX_TOOL_ITERATIONS = 10;
/** BullMQ's bound on the attempts of a job of several calls, each of which has its own. */
export const MANY_ATTEMPTS = 10_000;

/** A job of several provider calls, each of which is journaled when it is finished. */
export function hasSeveralCalls({
  tools,
  output,
  fallbacks,
  agents,
  guardrails,
  trim,
  wire,
}: Pick<CompletionPayload, "tools" | "output" | "fallbacks" | "trim" | "wire" | "guardrails"> & {
  agents?: readonly unknown[] | undefined;
}): boolean {
  const several = [tools, output, fallbacks, agents, guardrails, trim?.summary];
  return hasServerTools(wire) || several.some((given) => given !== undefined);
}

/** The job catalog: kind → schemas, queue, attempts, time and version. */
export const jobCatalog = {
  completion: {
    /** The newest that this code reads. */
    version: AGENT_PAYLOAD_VERSION,
    input: completionPayloadSchema,
    output: completionSummarySchema,
    queue: completionQueueName,
    /** One provider call takes at most this long unless the call or `CALL_TIMEOUT_MS` says otherwise. */
    timeoutMs: 120_000,
    /** So does one whose answer is streamed: it shows that it goes on, and is watched for that. */
    streamTimeoutMs: 600_000,
    interactive: { attempts: 3, priority: 0, deadlineMs: 10 * 60_000 },
    batch: { attempts: 12, priority: 10, deadlineMs: 24 * 3_600_000 },
  },
} as const;

/** The queue of runs that version 0.1 began; their steps are jobs of the models' queues. */
export const WORKFLOW_QUEUE = "workflows";

/** The runs of one workflow whose functions a process has at work at a time. */
export const MAX_RUNS_AT_WORK = 100;

/** The queue of a workflow's runs. */
export function workflowQueue(workflow: string): string {
  return `${WORKFLOW_QUEUE}.${workflow}`;
}

/** The workflow whose runs the queue has; undefined for other queues, and for `WORKFLOW_QUEUE`, which has any. */
export function workflowOfQueue(queue: string): string | undefined {
  return queue.startsWith(`${WORKFLOW_QUEUE}.`) ? queue.slice(WORKFLOW_QUEUE.length + 1) : undefined;
}

export function hasRuns(queue: string): boolean {
  return queue === WORKFLOW_QUEUE || workflowOfQueue(queue) !== undefined;
}

const ACTIVITY_PREFIX = "activities.";

/** The queue of an activity's jobs. */
export function activityQueue(activity: string): string {
  return `${ACTIVITY_PREFIX}${activity}`;
}

/** The activity whose jobs the queue has; undefined for other queues. */
export function activityOfQueue(queue: string): string | undefined {
  return queue.startsWith(ACTIVITY_PREFIX) ? queue.slice(ACTIVITY_PREFIX.length) : undefined;
}

/** Whether a queue's jobs make no calls of models: they are runs, or activities of runs. */
export function isOfWorkflows(queue: string): boolean {
  return hasRuns(queue) || activityOfQueue(queue) !== undefined;
}

/** The queue of schedules' ticks. */
export const SCHEDULE_QUEUE = "schedules";

/** The queue of deliveries to webhooks. */
export const WEBHOOK_QUEUE = "webhooks";

/** Whether any worker has the queue's jobs, whatever it can run: ticks of schedules and deliveries to webhooks. */
export function isOfEveryWorker(queue: string): boolean {
  return queue === SCHEDULE_QUEUE || queue === WEBHOOK_QUEUE;
}

/** Whether a queue's jobs call models, as those do that people and steps ask for. */
export function isOfModel(queue: string): boolean {
  return !isOfWorkflows(queue) && !isOfEveryWorker(queue);
}

/** Options every queue of the fleet shares, in BullMQ's words. */
export const QUEUE_DEFAULTS = {
  removeOnComplete: { age: 3600, count: 1000 },
  removeOnFail: { age: 30 * 86_400, count: 1000 },
  stackTraceLimit: 1,
  keepLogs: 20,
} as const;

export const MAX_QUEUES = 100;
/** Payloads and results above this lie in a blob, not in their job or record. */
export const MAX_INLINE_BYTES = 16 * 1024;
