import type { ToolCall } from "../providers/assistant-message.ts";
import { isAgentTool } from "../shared/agent.ts";
import type { Message } from "../shared/chat.ts";
import type { ToolExecution } from "../shared/records.ts";
import { thrownText } from "../shared/thrown-text.ts";
import type { Tool } from "../shared/tool.ts";
import { runInTool } from "../shared/tool-run.ts";
import { type JobWaits, readWaits } from "../store/job-waits.ts";
import { toolAttributes, toolEndAttributes } from "../telemetry/llm-attributes.ts";
import { inSpan, keepsContent, markFailed, type Span, setSpanAttributes } from "../telemetry/tracing.ts";
import { type Pending, SuspendedError } from "./suspension.ts";
import { admitTool, argumentsOf, blockedOutcome, placeOf, type ToolAdmission } from "./tool-admission.ts";
import { failure, type ToolOutcome, toOutcome } from "./tool-output.ts";
import type { ToolTurn } from "./tool-turn.ts";

/** Of one answer: calls that are run, those that run at a time, the bytes of their arguments and of their results. */
const MAX_CALLS = 128;
const MAX_AT_A_TIME = 32;
const MAX_ARGUMENT_BYTES = 2 ** 20;
const MAX_RESULT_BYTES = 8 * 2 ** 20;

/** A turn, the bytes of the result of each of its calls, and what the job waits for. */
type BoundedTurn = ToolTurn & { maxBytes: number; waits: JobWaits };

/**
 * Runs the calls of one turn side by side, 32 at a time. Whatever goes wrong in one becomes its result, for the model to read; so
 * do calls beyond the bounds, since a provider wants an answer to each.
 * @throws the signal's reason; FencedError; SuspendedError when some of them wait for a person or another job, once the others
 * have ended; what `admit` throws
 */
export async function runToolCalls(input: ToolTurn, calls: readonly ToolCall[]): Promise<ToolExecution[]> {
  const executions: ToolExecution[] = [];
  const pending: Pending[] = [];
  const excesses = excessOf(calls, input.handoffs);
  const maxBytes = Math.floor(MAX_RESULT_BYTES / calls.length);
  const waits = await waitsOf(input, calls);
  const waiting = calls.entries();
  let isOver = false;
  const runWaiting = async () => {
    for (const [index, call] of waiting) {
      if (isOver) return;
      const ended = await runOnce({ ...input, maxBytes, waits }, call, index, excesses[index]);
      if ("durationMs" in ended) executions[index] = ended;
      else pending.push(ended);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(MAX_AT_A_TIME, calls.length) }, runWaiting));
  } finally {
    isOver = true;
  }
  if (pending.length > 0) throw new SuspendedError(pending);
  return executions;
}

/** What the job waits for; only calls of some tools may wait. */
async function waitsOf({ store, tools, jobId }: ToolTurn, calls: readonly ToolCall[]): Promise<JobWaits> {
  const called = tools.filter(({ name }) => calls.some((call) => call.function.name === name));
  const mayWait = called.some((tool) => tool.approval || isAgentTool(tool));
  return mayWait ? readWaits(store, jobId) : { approvals: [], children: new Map() };
}

/** Returns why each call is too much, in their order; undefined for those that are not. */
function excessOf(calls: readonly ToolCall[], handoffs: readonly string[]): (ToolOutcome | undefined)[] {
  let bytes = 0;
  const handoff = calls.findIndex((call) => handoffs.includes(call.function.name));
  return calls.map((call, index) => {
    if (index !== handoff && handoffs.includes(call.function.name))
      return failure(
        "handed_over",
        "not run: the conversation is handed over by another call of this answer",
      );
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
  excess: ToolOutcome | undefined,
): Promise<ToolExecution | Pending> {
  const known = input.journal.executionOf(input.turn, index);
  if (known) return known;
  const args = excess ? null : argumentsOf(call);
  const admission: ToolAdmission = excess
    ? { kind: "answered", outcome: excess }
    : await admitTool(input, input.waits, { call, index, args });
  if (admission.kind === "waits") return admission.pending;
  const place = placeOf(input, index);
  const executionId = `${input.jobId}-${input.turn}-${index}`;
  const child =
    admission.kind === "run" && isAgentTool(admission.tool)
      ? await input.askAgent(input.waits, admission.tool, {
          place,
          executionId,
          ...(admission.args as { input: string }),
        })
      : undefined;
  if (typeof child === "string") return { kind: "child", place, jobId: child };
  const execution = await runToolCall(input, call, { index, args, admission, child, executionId });
  await input.journal.append({ kind: "tool", index, execution });
  return execution;
}

/** The answer to a call, for the model. */
export function toToolMessage({ callId, result = "", parts, error }: ToolExecution): Message {
  const text = error ? `Error: ${error.message}` : result;
  const content = parts ? [...(text === "" ? [] : [{ type: "text", text }]), ...parts] : text;
  return { role: "tool", tool_call_id: callId, content };
}

/** A call that may be run, or has its outcome. */
interface AdmittedCall {
  index: number;
  args: unknown;
  admission: Exclude<ToolAdmission, { kind: "waits" }>;
  /** What the agent behind the tool answered. */
  child: ToolOutcome | undefined;
  executionId: string;
}

async function runToolCall(
  input: BoundedTurn,
  call: ToolCall,
  admitted: AdmittedCall,
): Promise<ToolExecution> {
  const { id: callId, function: called } = call;
  const { args, admission, child } = admitted;
  const startedAt = performance.now();
  const about = {
    turn: input.turn,
    callId,
    toolName: called.name,
    arguments: admission.rewritten ?? args ?? called.arguments,
    ...(admission.decision && { approval: admission.decision }),
  };
  // A name that the model made up is nobody's, and the model's own words.
  const known = input.tools.some(({ name }) => name === called.name) ? called.name : "unknown";
  const hasContent = keepsContent();
  const attributes = () => toolAttributes({ name: known, callId, args }, hasContent);
  const outcome = await inSpan(`execute_tool ${known}`, { attributes }, async (span) => {
    const ended =
      child ??
      (admission.kind === "answered" ? admission.outcome : await outcomeOf(input, admission, admitted));
    const passed = await passResult(input, admitted, known, ended);
    if (span) tellEnd(span, passed, hasContent);
    return passed;
  });
  const durationMs = Math.round(performance.now() - startedAt);
  input.metrics?.toolEnded(known, "error" in outcome ? "failed" : "succeeded", durationMs);
  if ("error" in outcome) {
    input.logger.warn({ tool: known, fault: outcome.error.code, durationMs }, "tool call failed");
  } else input.logger.debug({ tool: known, durationMs }, "tool call ended");
  return { ...about, ...outcome, durationMs };
}

/** What guardrails let the model read of a result. */
async function passResult(
  { guardrails, turn }: BoundedTurn,
  { index, args }: AdmittedCall,
  toolName: string,
  outcome: ToolOutcome,
): Promise<ToolOutcome> {
  if ("error" in outcome) return outcome;
  const looked = { toolName, arguments: args };
  const checked = await guardrails.check("toolResult", `${turn}.${index}`, outcome.result, looked);
  return checked.blocked ? blockedOutcome(checked.blocked) : { ...outcome, result: checked.value };
}

/** A tool that failed fails no job: only its own span says so. */
function tellEnd(span: Span, outcome: ToolOutcome, hasContent: boolean): void {
  setSpanAttributes(toolEndAttributes(outcome, hasContent), span);
  if ("error" in outcome) markFailed(span, outcome.error);
}

async function outcomeOf(
  input: BoundedTurn,
  { tool, args }: Extract<ToolAdmission, { kind: "run" }>,
  { index, executionId }: AdmittedCall,
): Promise<ToolOutcome> {
  const { journal, turn } = input;
  if (!tool.idempotent) {
    if (journal.hasStarted(turn, index)) {
      return failure(
        "outcome_unknown",
        "the call was begun and interrupted; whether it took effect is unknown, and it was not repeated",
      );
    }
    await journal.append({ kind: "toolStarted", turn, index });
  }
  return execute(input, tool, args, executionId);
}

async function execute(
  input: BoundedTurn,
  tool: Tool,
  args: unknown,
  executionId: string,
): Promise<ToolOutcome> {
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
    const value = await Promise.race([running, aborted]);
    return toOutcome(value, Math.min(tool.maxOutputBytes, input.maxBytes), input.maxBytes);
  } catch (error) {
    input.signal.throwIfAborted();
    if (timeout.aborted) return failure("timeout", `the tool did not end within ${tool.timeoutMs / 1000} s`);
    return failure("tool_failed", thrownText(error));
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
