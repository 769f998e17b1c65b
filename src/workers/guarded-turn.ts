import { toolCallsOf } from "../providers/assistant-message.ts";
import type { ChatCompletion, ChatRequest, Message } from "../shared/chat.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import { blockedError, type JobGuardrails } from "./job-guardrails.ts";
import type { LoopInput } from "./loop-input.ts";

/**
 * Returns what the call asks as the guardrails let it pass.
 * @throws GuardrailError, also for a rewrite of what is asked in the provider's own words; as `JobGuardrails.check`
 */
export async function passInput(
  guardrails: JobGuardrails,
  own: readonly Message[],
  request: ChatRequest,
): Promise<Message[]> {
  const { value, rewrittenBy } = await guardrails.pass("pre", "", [...own]);
  // Its messages only show what its body asks.
  if (rewrittenBy && (request.responses || request.anthropic)) throw blockedError(rewrittenBy);
  return value;
}

/**
 * Makes the call of a turn while the parallel guardrails look at what is asked. Nobody uses its answer before they have let it pass; where
 * one blocks it, a call that is still under way is aborted.
 * @throws GuardrailError; as both of them
 */
export async function besideGuardrails(
  guardrails: JobGuardrails,
  own: readonly Message[],
  input: LoopInput,
  call: (input: LoopInput) => Promise<FinishedCall>,
): Promise<FinishedCall> {
  if (!guardrails.has("parallel")) return call(input);
  const blocked = new AbortController();
  const watching = guardrails.pass<unknown>("parallel", "", own).catch((error: unknown) => {
    blocked.abort(error);
    throw error;
  });
  const orBlocked = (signal: AbortSignal) => AbortSignal.any([signal, blocked.signal]);
  const signals = { signal: orBlocked(input.signal), beforeCall: orBlocked(input.beforeCall) };
  const [watched, called] = await Promise.allSettled([watching, call({ ...input, ...signals })]);
  if (watched.status === "rejected") throw watched.reason;
  if (called.status === "rejected") throw called.reason;
  return called.value;
}

interface AnswerPlace {
  turn: number;
  /** Whether the tools that it calls are run, so that it is no answer yet. */
  callsTools: boolean;
  /** The name of the call that is the structured answer, where the answer is one. */
  answerTool: string | false | undefined;
}

/**
 * Returns a call with its answer as the guardrails let it pass: each choice of it, where nothing else follows on it.
 * @throws GuardrailError, also for a rewrite of an answer in the provider's own words
 */
export async function passAnswer(
  guardrails: JobGuardrails,
  call: FinishedCall,
  { turn, callsTools, answerTool }: AnswerPlace,
): Promise<FinishedCall> {
  const calls = toolCallsOf(call.body);
  const isOver = !callsTools || calls.length === 0 || calls.some((one) => one.function.name === answerTool);
  if (!isOver) return call;
  let { body } = call;
  for (const [index, choice] of body.choices.entries()) {
    const text = textOf(choice, answerTool);
    if (text === undefined) continue;
    const { value, rewrittenBy } = await guardrails.pass("post", `${turn}.${index}`, text);
    if (!rewrittenBy) continue;
    if (body.responses || body.anthropic) throw blockedError(rewrittenBy);
    body = { ...body, choices: body.choices.with(index, withAnswer(choice, answerTool, value)) };
  }
  return { ...call, body };
}

type Choice = ChatCompletion["choices"][number];

/** The text of an answer: of a structured one by a call its arguments. */
function textOf({ message }: Choice, answerTool: AnswerPlace["answerTool"]): string | undefined {
  const answer = message.tool_calls?.find((call) => call.function.name === answerTool);
  return answer?.function.arguments ?? message.content ?? message.refusal ?? undefined;
}

function withAnswer(choice: Choice, answerTool: AnswerPlace["answerTool"], text: string): Choice {
  const { message } = choice;
  const isAnswer = (call: { function: { name: string } }) => call.function.name === answerTool;
  if (!message.tool_calls?.some(isAnswer)) return { ...choice, message: { ...message, content: text } };
  const calls = message.tool_calls.map((call) =>
    isAnswer(call) ? { ...call, function: { ...call.function, arguments: text } } : call,
  );
  return { ...choice, message: { ...message, tool_calls: calls } };
}
