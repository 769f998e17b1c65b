import type { ToolCall } from "../providers/assistant-message.ts";
import type { Message } from "../shared/chat.ts";
import { compileSchema } from "../shared/compile-schema.ts";
import type { Logger } from "../shared/logger.ts";
import type { ToolExecution } from "../shared/records.ts";
import type { Owner } from "../shared/tenant.ts";
import { thrownText } from "../shared/thrown-text.ts";
import { type ParsedArguments, parseArguments, type Tool } from "../shared/tool.ts";
import { runInTool } from "../shared/tool-run.ts";
import type { JobJournal } from "../store/job-journal.ts";
import { toolAttributes, toolEndAttributes } from "../telemetry/llm-attributes.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { inSpan, keepsContent, markFailed, type Span, setSpanAttributes } from "../telemetry/tracing.ts";
import { problemOf } from "./output/problem.ts";

const MAX_SHOWN_BYTES = 300;

/** Of one answer: calls that are run, those that run at a time, the bytes of their arguments and of their results. */
const MAX_CALLS = 128;
const MAX_AT_A_TIME = 32;
const MAX_ARGUMENT_BYTES = 2 ** 20;
const MAX_RESULT_BYTES = 8 * 2 ** 20;

/** A turn, and the bytes of the result of each of its calls. */
type BoundedTurn = ToolTurn & { maxBytes: number };

export interface ToolTurn {
  metrics: Metrics | undefined;
  /** The tools the job may call. */
  tools: readonly Tool[];
  journal: JobJournal;
  jobId: string;
  /** The request's own. */
  context: Readonly<Record<string, unknown>>;
  /** Of the job; 0 when no tool began it. */
  nesting: number;
  owner?: Owner;
  /** The id of the job's conversation. */
  conversation: string | undefined;
  turn: number;
  /** Aborts when the job is cancelled or its worker stops: then nothing is recorded. */
  signal: AbortSignal;
  logger: Logger;
}

/**
 * Runs the calls of one turn side by side, 32 at a time. Whatever goes wrong in one becomes its result, for the model to read; so
 * do calls beyond the bounds, since a provider wants an answer to each.
 * @throws the signal's reason; FencedError
 */
export async function runToolCalls(input: ToolTurn, calls: readonly ToolCall[]): Promise<ToolExecution[]> {
  const executions: ToolExecution[] = [];
  const excesses = excessOf(calls);
  const maxBytes = Math.floor(MAX_RESULT_BYTES / calls.length);
  const waiting = calls.entries();
  let isOver = false;
  const runWaiting = async () => {
    for (const [index, call] of waiting) {
      if (isOver) return;
      executions[index] = await runOnce({ ...input, maxBytes }, call, index, excesses[index]);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(MAX_AT_A_TIME, calls.length) }, runWaiting));
  } finally {
    isOver = true;
  }
  return executions;
}

/** Returns why each call is too much, in their order; undefined for those that are not. */
function excessOf(calls: readonly ToolCall[]): (Outcome | undefined)[] {
  let bytes = 0;
  return calls.map((call, index) => {
    if (index >= MAX_CALLS) {
      return failure(
        "too_many_calls",
        `not run: of one answer the first ${MAX_CALLS} calls are run; call again`,
      );
    }
    bytes += Buffer.byteLength(call.function.arguments);
    if (bytes <= MAX_ARGUMENT_BYTES) return undefined;
    return failure(
      "too_many_bytes",
      `not run: the arguments of one answer may have ${MAX_ARGUMENT_BYTES} bytes`,
    );
  });
}

async function runOnce(
  input: BoundedTurn,
  call: ToolCall,
  index: number,
  excess: Outcome | undefined,
): Promise<ToolExecution> {
  const known = input.journal.executionOf(input.turn, index);
  if (known) return known;
  const execution = await runToolCall(input, call, index, excess);
  await input.journal.append({ kind: "tool", index, execution });
  return execution;
}

/** The answer to a call, for the model. */
export function toToolMessage({ callId, result, error }: ToolExecution): Message {
  return { role: "tool", tool_call_id: callId, content: error ? `Error: ${error.message}` : (result ?? "") };
}

async function runToolCall(
  input: BoundedTurn,
  call: ToolCall,
  index: number,
  excess: Outcome | undefined,
): Promise<ToolExecution> {
  const { id: callId, function: called } = call;
  const startedAt = performance.now();
  const args = parseArguments(called.arguments);
  const about = {
    turn: input.turn,
    callId,
    toolName: called.name,
    arguments: excess ? null : (args ?? called.arguments),
  };
  // A name that the model made up is nobody's, and the model's own words.
  const known = input.tools.some(({ name }) => name === called.name) ? called.name : "unknown";
  const hasContent = keepsContent();
  const attributes = () => toolAttributes({ name: known, callId, args }, hasContent);
  const outcome =
    excess ??
    (await inSpan(`execute_tool ${known}`, { attributes }, async (span) => {
      const ended = await outcomeOf(input, call, args, index);
      if (span) tellEnd(span, ended, hasContent);
      return ended;
    }));
  const durationMs = Math.round(performance.now() - startedAt);
  input.metrics?.toolEnded(known, "error" in outcome ? "failed" : "succeeded", durationMs);
  if ("error" in outcome) {
    input.logger.warn({ tool: known, fault: outcome.error.code, durationMs }, "tool call failed");
  } else input.logger.debug({ tool: known, durationMs }, "tool call ended");
  return { ...about, ...outcome, durationMs };
}

/** A tool that failed fails no job: only its own span says so. */
function tellEnd(span: Span, outcome: Outcome, hasContent: boolean): void {
  setSpanAttributes(toolEndAttributes(outcome, hasContent), span);
  if ("error" in outcome) markFailed(span, outcome.error);
}

type Outcome = { result: string } | { error: { code: string; message: string } };

async function outcomeOf(input: BoundedTurn, call: ToolCall, args: unknown, index: number): Promise<Outcome> {
  const { journal, turn } = input;
  const tool = input.tools.find(({ name }) => name === call.function.name);
  if (!tool) {
    const known = input.tools.map(({ name }) => name).join(", ");
    return failure("unknown_tool", `there is no such tool; there are: ${known}`);
  }
  if (args === undefined) return failure("invalid_arguments", notJson(call.function.arguments));
  const parsed = await checkArguments(tool, args);
  if (!parsed.ok) return failure("invalid_arguments", parsed.problem);
  if (!tool.idempotent) {
    if (journal.hasStarted(turn, index)) {
      return failure(
        "outcome_unknown",
        "the call was begun and interrupted; whether it took effect is unknown, and it was not repeated",
      );
    }
    await journal.append({ kind: "toolStarted", turn, index });
  }
  const executionId = `${input.jobId}-${turn}-${index}`;
  return execute(input, tool, parsed.args, executionId);
}

/** A schema's own code may throw, too. */
async function checkArguments({ parameters, parse }: Tool, args: unknown): Promise<ParsedArguments> {
  try {
    if (parse) return await parse(args);
    const errors = compileSchema(parameters)(args);
    return errors.length === 0 ? { ok: true, args } : { ok: false, problem: problemOf(errors) };
  } catch (error) {
    return { ok: false, problem: toOutput(thrownText(error), 4096) };
  }
}

async function execute(input: BoundedTurn, tool: Tool, args: unknown, executionId: string): Promise<Outcome> {
  const timeout = AbortSignal.timeout(tool.timeoutMs);
  const signal = AbortSignal.any([input.signal, timeout]);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  // What the tool leaves behind at its end goes on.
  const whileRunning = new AbortController();
  const abort = () => {
    whileRunning.abort(signal.reason);
    reject(signal.reason);
  };
  signal.addEventListener("abort", abort, { once: true });
  try {
    input.signal.throwIfAborted();
    const { jobId, conversation } = input;
    const nesting = input.nesting + 1;
    const { owner } = input;
    const run = {
      executionId,
      conversation,
      owner,
      nesting,
      signal: whileRunning.signal,
      requests: new Map(),
    };
    const running = runInTool(run, async () =>
      tool.execute(args as never, { signal, jobId, executionId, context: input.context }),
    ) as Promise<unknown>;
    return {
      result: toOutput(await Promise.race([running, aborted]), Math.min(tool.maxOutputBytes, input.maxBytes)),
    };
  } catch (error) {
    input.signal.throwIfAborted();
    if (timeout.aborted) return failure("timeout", `the tool did not end within ${tool.timeoutMs / 1000} s`);
    return failure("tool_failed", toOutput(thrownText(error), 4096));
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** The history shows the call with `{}`, which every provider takes: what the model wrote stands here. */
function notJson(text: string): string {
  return `the arguments are not valid JSON: ${toOutput(text, MAX_SHOWN_BYTES)}`;
}

function failure(code: string, message: string): Outcome {
  return { error: { code, message } };
}

/** Control characters but tabs and line breaks: they have no place in a prompt. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

/** @throws TypeError for what JSON cannot express */
function toOutput(value: unknown, maxBytes: number): string {
  const text = (typeof value === "string" ? value : (JSON.stringify(value) ?? ""))
    .replace(CONTROL, "")
    .toWellFormed();
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  // A character cut in two becomes a replacement character.
  const head = bytes
    .subarray(0, maxBytes)
    .toString()
    .replace(/\ufffd+$/, "");
  return `${head}\n[cut off: ${bytes.length - maxBytes} of ${bytes.length} bytes left out]`;
}
