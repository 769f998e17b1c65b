import { z } from "zod";
import type { Scope } from "../../shared/scopes.ts";
import type { RestCaller } from "./rest-caller.ts";

/** A tool that MCP clients may call: what it asks the REST routes. */
export interface ServedTool<Args = unknown> {
  name: string;
  description: string;
  args: z.ZodObject;
  /** What the key must allow for the tool to be shown; of several, one. */
  scopes: readonly Scope[];
  /** Nothing changes by it. */
  isReadOnly: boolean;
  /** A second call with the same arguments changes nothing more. */
  isIdempotent?: boolean;
  /** Returns the answer, as JSON. @throws RestError */
  run(rest: RestCaller, args: Args): Promise<object>;
}

/** The longest time that a request waits; MCP clients give up after a minute. */
const MAX_WAIT_SECONDS = 50;

const waitSeconds = z.number().min(0).max(MAX_WAIT_SECONDS);
const jobId = z.string().describe("The id of a job: job-…");
const idempotencyKey = z
  .string()
  .max(255)
  .optional()
  .describe("Your own name for the request: a second one under it is the same job, and is not paid again");

const question = {
  message: z
    .union([z.string(), z.array(z.looseObject({ role: z.string(), content: z.unknown() })).min(1)])
    .describe("A prompt, or messages in the words of Chat Completions"),
  model: z.string().optional().describe("provider:model; default: the service's"),
  system: z.string().optional().describe("The system prompt"),
  temperature: z.number().optional(),
  maxTokens: z.int().min(1).optional().describe("The longest answer, in tokens"),
  schema: z.looseObject({}).optional().describe("JSON Schema of a structured answer"),
  tools: z.array(z.string()).optional().describe("Names of tools that the workers have"),
  maxCostUsd: z.number().positive().optional().describe("What the job may cost at most"),
};

const TOOLS = [
  tool({
    name: "complete",
    description:
      "Asks a model, by a durable job, and waits for the answer. When it is not there in time the answer has the job's id: ask for it with job_result.",
    args: z.strictObject({ ...question, idempotencyKey, waitSeconds: waitSeconds.default(30) }),
    scopes: ["complete"],
    run: async (rest, { idempotencyKey: key, waitSeconds: wait, ...body }) => {
      const { id } = await rest.call({ method: "POST", path: "/api/jobs", body, idempotencyKey: key });
      return resultOf(rest, String(id), wait);
    },
  }),
  tool({
    name: "enqueue",
    description: "Gives a model something to do and returns the job's id at once; the job survives crashes.",
    args: z.strictObject({
      ...question,
      idempotencyKey,
      priority: z.int().min(0).optional().describe("Lower comes first; default 0"),
      delayMs: z.int().min(0).optional(),
    }),
    scopes: ["complete"],
    run: (rest, { idempotencyKey: key, ...body }) =>
      rest.call({ method: "POST", path: "/api/jobs", body, idempotencyKey: key }),
  }),
  tool({
    name: "job_status",
    description: "Says where a job stands, and what it waits for.",
    args: z.strictObject({ jobId }),
    scopes: ["read"],
    isReadOnly: true,
    run: (rest, args) => rest.call({ method: "GET", path: `/api/jobs/${encodeURIComponent(args.jobId)}` }),
  }),
  tool({
    name: "job_result",
    description: "Returns what a job brought: its answer, or its error; its state while it has not ended.",
    args: z.strictObject({ jobId, waitSeconds: waitSeconds.default(0) }),
    scopes: ["complete", "content"],
    isReadOnly: true,
    run: (rest, args) => resultOf(rest, args.jobId, args.waitSeconds),
  }),
  tool({
    name: "cancel",
    description:
      "Cancels a job, a run or a batch: nothing further is paid for it, and what is finished is kept.",
    args: z.strictObject({ id: z.string().describe("The id of a job (job-…), batch (batch_…) or run") }),
    scopes: ["complete", "operate", "workflow", "batch"],
    isIdempotent: true,
    run: (rest, { id }) =>
      rest.call({ method: "POST", path: `${homeOf(id)}/${encodeURIComponent(id)}/cancel` }),
  }),
  tool({
    name: "batch_submit",
    description:
      "Asks a model many things at once and returns the batch's id at once: cheaper and slower than single calls. Results: batch_status says where they are.",
    args: z.strictObject({
      requests: z
        .array(
          z.strictObject({
            customId: z.string().min(1).optional().describe("Your own name of the row; default its number"),
            messages: z
              .array(z.looseObject({ role: z.string() }))
              .min(1)
              .optional(),
            prompt: z.string().min(1).optional().describe("In place of messages"),
          }),
        )
        .min(1)
        .max(10_000),
      model: z.string().describe("provider:model"),
      maxTokens: z.int().min(1).optional(),
      windowHours: z.int().min(1).max(336).default(24),
      idempotencyKey,
    }),
    scopes: ["batch"],
    run: submitBatch,
  }),
  tool({
    name: "batch_status",
    description: "Says where a batch stands: its state, rows done and failed, and the ids of its files.",
    args: z.strictObject({ batchId: z.string().describe("batch_…") }),
    scopes: ["batch"],
    isReadOnly: true,
    run: (rest, { batchId }) =>
      rest.call({ method: "GET", path: `/v1/batches/${encodeURIComponent(batchId)}` }),
  }),
  tool({
    name: "run_start",
    description: "Starts a run of a durable workflow by its name and returns the run's id at once.",
    args: z.strictObject({
      workflow: z.string().describe("The workflow's name"),
      input: z.unknown().describe("Its input, as JSON"),
      runId: z
        .string()
        .optional()
        .describe("Your own id: a second start with it and the same input is the same run"),
    }),
    scopes: ["workflow"],
    run: (rest, { workflow, input = {}, runId }) =>
      rest.call({
        method: "POST",
        path: `/api/workflows/${encodeURIComponent(workflow)}/runs`,
        body: { input, ...(runId !== undefined && { runId }) },
      }),
  }),
  tool({
    name: "run_status",
    description:
      "Says where a run stands, what it waits for and what it cost; with its output once it has ended.",
    args: z.strictObject({ runId: z.string(), waitSeconds: waitSeconds.default(0) }),
    scopes: ["workflow", "content", "read"],
    isReadOnly: true,
    run: async (rest, { runId, waitSeconds: wait }) => {
      const path = `/api/runs/${encodeURIComponent(runId)}`;
      const result = await rest
        .call({ method: "GET", path: `${path}/result?waitMs=${wait * 1000}` })
        // Who may only see states is told the state.
        .catch(() => ({}));
      return { ...(await rest.call({ method: "GET", path })), ...result };
    },
  }),
  tool({
    name: "run_signal",
    description: "Signals a run that waits for it: an approval, an answer of a person, an event.",
    args: z.strictObject({
      runId: z.string(),
      name: z.string().describe("The signal's name, as the run's waitsFor says"),
      data: z.unknown().optional(),
      dedupeId: z.string().optional().describe("A second signal with it changes nothing"),
    }),
    scopes: ["workflow"],
    run: (rest, { runId, ...body }) =>
      rest.call({ method: "POST", path: `/api/runs/${encodeURIComponent(runId)}/signals`, body }),
  }),
  tool({
    name: "quote",
    description: "Says about how many tokens a question has and what it would cost, without asking a model.",
    args: z.strictObject({
      message: question.message,
      model: question.model,
      maxTokens: question.maxTokens,
      count: z.int().min(1).optional().describe("So many questions like it; default 1"),
    }),
    scopes: ["read", "complete"],
    isReadOnly: true,
    run: (rest, body) => rest.call({ method: "POST", path: "/api/quote", body }),
  }),
  tool({
    name: "usage",
    description: "Says what the key that asks has used and spent, and what its limits are.",
    args: z.strictObject({}),
    scopes: ["read", "complete", "batch", "workflow"],
    isReadOnly: true,
    run: (rest) => rest.call({ method: "GET", path: "/api/usage" }),
  }),
];

/** Few on purpose: a model reads all of them. */
export const SERVED_TOOLS: readonly ServedTool[] = TOOLS;

function tool<Args extends z.ZodObject>({
  isReadOnly = false,
  ...given
}: Omit<ServedTool<z.output<Args>>, "args" | "isReadOnly"> & {
  args: Args;
  isReadOnly?: boolean;
}): ServedTool {
  return { ...given, isReadOnly } as ServedTool;
}

async function resultOf(rest: RestCaller, id: string, waitSeconds: number): Promise<object> {
  const path = `/api/jobs/${encodeURIComponent(id)}/result?waitMs=${Math.round(waitSeconds * 1000)}`;
  const { result, ...told } = await rest.call({ method: "GET", path });
  if (!result) return told;
  // The provider's own answer and the like are long, and say nothing more to a model.
  const { finalResponse, output, model, tokensUsed, costUsd, finishReason, toolCallsMade } = result as Record<
    string,
    unknown
  >;
  return { ...told, finalResponse, output, model, tokensUsed, costUsd, finishReason, toolCallsMade };
}

function homeOf(id: string): string {
  if (id.startsWith("job-")) return "/api/jobs";
  return id.startsWith("batch_") ? "/v1/batches" : "/api/runs";
}

async function submitBatch(
  rest: RestCaller,
  args: {
    requests: { customId?: string; messages?: object[]; prompt?: string }[];
    model: string;
    maxTokens?: number;
    windowHours: number;
    idempotencyKey?: string;
  },
): Promise<object> {
  const lines = args.requests.map(({ customId, messages, prompt = "" }, i) =>
    JSON.stringify({
      custom_id: customId ?? `row-${i + 1}`,
      method: "POST",
      url: "/v1/chat/completions",
      body: {
        model: args.model,
        messages: messages ?? [{ role: "user", content: prompt }],
        ...(args.maxTokens !== undefined && { max_tokens: args.maxTokens }),
      },
    }),
  );
  const form = new FormData();
  form.set("purpose", "batch");
  form.set("file", new File([`${lines.join("\n")}\n`], "requests.jsonl", { type: "application/jsonl" }));
  const { id: input_file_id } = await rest.call({ method: "POST", path: "/v1/files", body: form });
  const body = { input_file_id, endpoint: "/v1/chat/completions", completion_window: `${args.windowHours}h` };
  return rest.call({ method: "POST", path: "/v1/batches", body, idempotencyKey: args.idempotencyKey });
}
