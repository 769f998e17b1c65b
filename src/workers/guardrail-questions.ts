import { toolCallsOf } from "../providers/assistant-message.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import type { Message } from "../shared/chat.ts";
import { sha256 } from "../shared/digest.ts";
import { policyOf } from "../shared/error-policy.ts";
import { GlueError } from "../shared/errors.ts";
import type { GuardrailQuestion } from "../shared/guardrail.ts";
import { type ModelRef, parseModel } from "../shared/model-name.ts";
import { BudgetWaitError } from "../shared/unsent-errors.ts";
import { wireOfSideCall } from "../shared/wire-options.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import { countCall } from "../store/usage.ts";
import type { WorkerContext } from "./context.ts";
import type { LoopInput } from "./loop-input.ts";
import { callOrCached } from "./response-cache.ts";

const WAIT_MS = 1000;

/** The questions that one look of a guardrail asks models: each is a call of the job, journaled when it is answered. */
export class GuardrailQuestions {
  readonly #context: WorkerContext;
  readonly #input: LoopInput;
  readonly #by: { place: string; name: string };
  readonly #calls: FinishedCall[] = [];
  #asked = 0;
  /** What a question threw, which the guardrail may have wrapped or swallowed. */
  fault: unknown;

  constructor(context: WorkerContext, input: LoopInput, by: { place: string; name: string }) {
    this.#context = context;
    this.#input = input;
    this.#by = by;
  }

  get count(): number {
    return this.#calls.length;
  }

  /** In USD; null when nobody knows it. */
  get costUsd(): number | null {
    const costs = this.#calls.map(({ costUsd }) => costUsd);
    return costs.includes(null) ? null : costs.reduce<number>((sum, cost) => sum + (cost ?? 0), 0);
  }

  async ask(question: string, options: GuardrailQuestion = {}): Promise<string> {
    const number = this.#asked++;
    const digest = sha256(canonicalJson({ question, ...options }));
    try {
      const at = { ...this.#by, number, digest };
      const known = this.#input.journal?.questionAt(at);
      const call = known ?? (await this.#call(question, options, at));
      this.#calls.push(call);
      const { content, refusal } = call.body.choices[0]?.message ?? {};
      return content ?? refusal ?? toolCallsOf(call.body)[0]?.function.arguments ?? "";
    } catch (error) {
      this.fault = error;
      throw error;
    }
  }

  async #call(
    question: string,
    { model: given, system, maxTokens }: GuardrailQuestion,
    at: { place: string; name: string; number: number; digest: string },
  ): Promise<FinishedCall> {
    const { payload, journal, attemptsMade, jobId, ...input } = this.#input;
    const model = this.#modelOf(given);
    const isOther = model.key !== input.model.key;
    const messages: Message[] = [{ role: "user", content: question }];
    if (system !== undefined) messages.unshift({ role: "system", content: system });
    const call = await callOrCached(this.#context, {
      ...{
        ...input,
        model,
        payload,
        request: { messages, ...(maxTokens !== undefined && { max_tokens: maxTokens }) },
      },
      // Beside it the job's own call may hold money.
      jobId: `${jobId}-${at.place}-${at.name}`,
      isRouted: input.isRouted || isOther,
      wire: wireOfSideCall(payload.wire),
      isWorthKeeping: (body) => Boolean(body.choices[0]?.message.content),
      requestId: `${payload.requestId}-${at.place}-${at.name}-${at.number}`,
      isRepeated: false,
    }).catch((error) => {
      throw isOther ? asOfOther(error, model, this.#by.name) : error;
    });
    await journal?.append({ kind: "question", ...at, call, attemptsMade });
    if (!call.fromCache) await countCall(this.#context.store, call);
    return call;
  }

  #modelOf(given: string | undefined): ModelRef {
    const { model } = this.#input;
    if (given === undefined) return model;
    const { providers } = this.#context.settings;
    const ref = parseModel(given, Object.keys(providers), model.entry);
    const entry = providers[ref.entry];
    if (entry && (entry.apiKey || entry.keyOptional)) return ref;
    throw new GlueError({
      code: "guardrail_failed",
      category: "configuration",
      message: `the guardrail "${this.#by.name}" asks ${ref.key}, which this worker cannot call`,
      hint: "give the worker the provider's key, or the guardrail another model",
    });
  }
}

/** What another model's provider says holds for that one: the job's own queue must not wait for it. */
function asOfOther(error: unknown, model: ModelRef, name: string): unknown {
  if (!(error instanceof GlueError)) return error;
  if (policyOf(error).verdict === "snooze")
    return new BudgetWaitError(model.key, error.retryAfterMs ?? WAIT_MS);
  return new GlueError({
    code: "guardrail_failed",
    category: error.category,
    message: `the guardrail "${name}" could not ask ${model.key} (${error.code})`,
    hint: "the job is tried again as after any fault",
  });
}
