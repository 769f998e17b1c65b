import type { ToolCall } from "../providers/assistant-message.ts";
import type { Decision } from "../shared/approval.ts";
import { compileSchema } from "../shared/compile-schema.ts";
import { GlueError } from "../shared/errors.ts";
import type { GuardrailReport } from "../shared/guardrail.ts";
import { thrownText } from "../shared/thrown-text.ts";
import { type ApprovalRule, type ParsedArguments, parseArguments, type Tool } from "../shared/tool.ts";
import { type Approval, decide, type JobWaits } from "../store/job-waits.ts";
import { clockOf } from "../store/redis-clock.ts";
import { problemOf } from "./output/problem.ts";
import type { Pending } from "./suspension.ts";
import { boundedText, failure, type ToolOutcome } from "./tool-output.ts";
import type { ToolTurn } from "./tool-turn.ts";

/** How much the model reads again of arguments that are no JSON. */
const MAX_SHOWN_BYTES = 300;

/** What becomes of a call: its tool is run; it has its outcome without that; or it waits for somebody. */
export type ToolAdmission =
  | (({ kind: "run"; tool: Tool; args: unknown } | { kind: "answered"; outcome: ToolOutcome }) & {
      /** What a person said of it. */
      decision?: Decision | undefined;
      /** The arguments that a guardrail gave it. */
      rewritten?: unknown;
    })
  | { kind: "waits"; pending: Pending; decision?: never; rewritten?: never };

/** A call of a tool that the model's answer asks for. */
export interface AskedCall {
  call: ToolCall;
  index: number;
  /** Its arguments as parsed JSON. */
  args: unknown;
}

/**
 * Whether a call may be run: its tool is known → its arguments fit → the guardrails let it pass → a person allows it, where the tool
 * wants that.
 * @throws GlueError `approval_timeout`; `tool_approval_failed` when the tool's own function fails
 */
export async function admitTool(
  turn: ToolTurn,
  waits: JobWaits,
  { call, index, args }: AskedCall,
): Promise<ToolAdmission> {
  const { name, arguments: text } = call.function;
  const tool = turn.tools.find((known) => known.name === name);
  if (!tool) {
    const known = turn.tools.map((one) => one.name).join(", ");
    return refused("unknown_tool", `there is no such tool; there are: ${known}`);
  }
  if (args === undefined) return refused("invalid_arguments", notJson(text));
  let parsed = await checkArguments(tool, args);
  if (!parsed.ok) return refused("invalid_arguments", parsed.problem);
  const looked = { toolName: name, arguments: args };
  const checked = await turn.guardrails.check("tool", `${turn.turn}.${index}`, args, looked);
  if (checked.blocked) return { kind: "answered", outcome: blockedOutcome(checked.blocked) };
  const rewritten = checked.rewrittenBy ? checked.value : undefined;
  if (checked.rewrittenBy) parsed = await checkArguments(tool, checked.value);
  if (!parsed.ok) return { ...refused("invalid_arguments", parsed.problem), rewritten };
  const { approval: rule } = tool;
  const place = placeOf(turn, index);
  const asked = waits.approvals.find((approval) => approval.place === place);
  if (!asked && !(rule && (await needsApproval(turn, tool, rule, parsed.args))))
    return { kind: "run", tool, args: parsed.args, rewritten };
  const approval = asked ?? newApproval(turn, waits, { call, place, rule });
  const decision = approval.decision ?? (await decisionInTime(turn, approval, rule));
  if (!decision) return { kind: "waits", pending: { kind: "approval", approval, arguments: checked.value } };
  turn.logger.info({ tool: name, approved: decision.approved }, "a person's answer to a tool call");
  if (decision.approved) return { kind: "run", tool, args: parsed.args, decision, rewritten };
  const reason = decision.reason ? `: ${decision.reason}` : "";
  return { ...refused("rejected", `a person did not allow this call${reason}`), decision, rewritten };
}

/** A place among the answers that count: what was said of one in an earlier life of the job is none of this one's. */
export function placeOf({ journal, turn }: Pick<ToolTurn, "journal" | "turn">, index: number): string {
  return `${journal.generation}.${turn}.${index}`;
}

/** The arguments that a model wrote, as JSON; undefined when they are none. */
export function argumentsOf({ function: called }: ToolCall): unknown {
  return parseArguments(called.arguments);
}

/** What the model reads of a call, or a result, that a guardrail blocked. */
export function blockedOutcome({ name, reason = "" }: GuardrailReport): ToolOutcome {
  return failure("guardrail_blocked", `blocked by the guardrail ${name}: ${reason}`);
}

function refused(code: string, message: string): ToolAdmission & { kind: "answered" } {
  return { kind: "answered", outcome: failure(code, message) };
}

async function needsApproval(
  { jobId, context }: ToolTurn,
  { name }: Tool,
  { when }: ApprovalRule,
  args: unknown,
): Promise<boolean> {
  if (!when) return true;
  try {
    return (await when(args as never, { jobId, context })) !== false;
  } catch (error) {
    throw new GlueError({
      code: "tool_approval_failed",
      category: "input",
      message: `needsApproval of the tool "${name}" failed: ${thrownText(error).slice(0, 1000)}`,
      hint: "correct the function; the job is tried again as after any fault",
    });
  }
}

function newApproval(
  { store, agent }: ToolTurn,
  { approvals }: JobWaits,
  { call, place, rule }: { call: ToolCall; place: string; rule: ApprovalRule | undefined },
): Approval {
  const askedAt = clockOf(store).now();
  let callId = call.id;
  // Some servers number the calls of each answer anew.
  while (approvals.some((known) => known.callId === callId)) callId = `${callId}-${place}`;
  const approval: Approval = {
    ...{ callId, place, toolName: call.function.name, askedAt },
    ...(agent !== undefined && { agent }),
    expiresAt: askedAt + (rule?.timeoutMs ?? 0),
  };
  approvals.push(approval);
  return approval;
}

/** What the time-out decided; undefined while somebody may still answer. */
async function decisionInTime(
  { store, jobId, signal }: ToolTurn,
  { callId, expiresAt, toolName }: Approval,
  rule: ApprovalRule | undefined,
): Promise<Decision | undefined> {
  const at = clockOf(store).now();
  if (at < expiresAt) return undefined;
  signal.throwIfAborted();
  const given = {
    approved: rule?.onTimeout === "approve",
    reason: "nobody answered in time",
    by: "timeout",
    at,
  };
  const decision = await decide(store, jobId, callId, given, { isTimeout: true });
  if (typeof decision === "string") return undefined;
  if (decision.by !== "timeout" || rule?.onTimeout !== "fail") return decision;
  throw new GlueError({
    code: "approval_timeout",
    category: "cancelled",
    message: `nobody answered in time whether the tool "${toolName}" may be called`,
    hint: "answer earlier, or give the tool a longer approvalTimeoutMs",
  });
}

/** A schema's own code may throw, too. */
async function checkArguments({ parameters, parse }: Tool, args: unknown): Promise<ParsedArguments> {
  try {
    if (parse) return await parse(args);
    const errors = compileSchema(parameters)(args);
    return errors.length === 0 ? { ok: true, args } : { ok: false, problem: problemOf(errors) };
  } catch (error) {
    return { ok: false, problem: thrownText(error) };
  }
}

/** The history shows the call with `{}`, which every provider takes: what the model wrote stands here. */
function notJson(text: string): string {
  return `the arguments are not valid JSON: ${boundedText(text, MAX_SHOWN_BYTES)}`;
}
