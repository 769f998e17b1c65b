import { z } from "zod";
import { type Message, messageSchema } from "../shared/chat.ts";
import { GlueError, GuardrailError } from "../shared/errors.ts";
import type { Guardrail, GuardrailReport, GuardrailStage, GuardrailSubject } from "../shared/guardrail.ts";
import { isObject } from "../shared/json.ts";
import { FencedError } from "../store/job-journal.ts";
import { inSpan, markFailed, setSpanAttributes } from "../telemetry/tracing.ts";
import { guardrailOf } from "./can-run.ts";
import type { WorkerContext } from "./context.ts";
import { GuardrailQuestions } from "./guardrail-questions.ts";
import type { LoopInput } from "./loop-input.ts";
import { NotStartedError } from "./provider-call.ts";
import { boundedText } from "./tool-output.ts";

const MAX_REASON_BYTES = 1000;

const verdictSchema = z
  .union([
    z.object({ action: z.literal("allow") }),
    z.object({ action: z.enum(["block", "flag"]), reason: z.string() }),
    z.object({ action: z.literal("rewrite"), value: z.unknown(), reason: z.string().optional() }),
  ])
  .default({ action: "allow" });
type Verdict = z.infer<typeof verdictSchema>;

/** What can take the place of what a guardrail looked at. */
const values: Partial<Record<GuardrailStage, z.ZodType>> = {
  pre: z.union([z.string(), z.array(messageSchema).min(1)]),
  post: z.string(),
  tool: z.record(z.string(), z.unknown()),
  toolResult: z.string(),
};

/** What is looked at, beside what all guardrails of a job are told. */
export type Looked = Partial<Pick<GuardrailSubject, "messages" | "toolName" | "arguments">>;

/** What guardrails left of what they looked at, or the one that blocked it. */
export interface Checked<T> {
  value: T;
  /** The one whose words it has; undefined: it is as it was. */
  rewrittenBy: GuardrailReport | undefined;
  blocked?: GuardrailReport | undefined;
}

/** The guardrails of a job: each is asked once about one thing, whoever has the job, and what it said is journaled before it counts. */
export class JobGuardrails {
  readonly #context: WorkerContext;
  readonly #input: LoopInput;
  readonly #agent: () => { name: string | undefined; guardrails: readonly string[] };
  readonly #reports = new Map<string, GuardrailReport>();

  /** @param agent whose turn it is */
  constructor(
    context: WorkerContext,
    input: LoopInput,
    agent: () => { name: string | undefined; guardrails: readonly string[] },
  ) {
    this.#context = context;
    this.#input = input;
    this.#agent = agent;
  }

  /** What they said so far, but for what they allowed. */
  get reports(): GuardrailReport[] {
    return [...this.#reports.values()].filter(({ action }) => action !== "allow");
  }

  /** Whether there is one of the stage. */
  has(stage: GuardrailStage): boolean {
    return this.#of(stage).length > 0;
  }

  /** Whether there is one of the stage whose word counts. */
  enforces(stage: GuardrailStage): boolean {
    return this.#of(stage).some(({ mode }) => mode === "enforce");
  }

  /**
   * Asks the guardrails of a stage one after the other, each about what the one before left.
   * @param at the turn and call, where the stage comes more than once
   * @throws GlueError `guardrail_failed`; what a question to a model throws; FencedError; the signal's reason
   */
  async check<T>(stage: GuardrailStage, at: string, given: T, looked: Looked = {}): Promise<Checked<T>> {
    let value = given;
    let rewrittenBy: GuardrailReport | undefined;
    for (const guardrail of this.#of(stage)) {
      const place = at === "" ? stage : `${stage}.${at}`;
      const known = this.#input.journal?.guardrailAt(place, guardrail.name, this.#input.failedAt);
      const said = known ?? (await this.#ask(guardrail, place, value, looked));
      const { report } = said;
      this.#reports.set(`${place} ${guardrail.name}`, report);
      if (report.shadow) continue;
      if (report.action === "block") return { value, rewrittenBy, blocked: report };
      if (report.action !== "rewrite") continue;
      value = said.value as T;
      rewrittenBy = report;
    }
    return { value, rewrittenBy };
  }

  /** As `check`, of what ends the job when it is blocked. @throws GuardrailError, too */
  async pass<T>(stage: GuardrailStage, at: string, given: T, looked: Looked = {}): Promise<Checked<T>> {
    const checked = await this.check(stage, at, given, looked);
    if (checked.blocked) throw blockedError(checked.blocked);
    return checked;
  }

  #of(stage: GuardrailStage): Guardrail[] {
    const { guardrails } = this.#agent();
    const all = guardrails.flatMap((name) => guardrailOf(this.#context, name) ?? []);
    return all.filter((guardrail) => guardrail.stage === stage);
  }

  async #ask(guardrail: Guardrail, place: string, value: unknown, looked: Looked) {
    const { name, stage, mode } = guardrail;
    const { journal, attemptsMade, logger } = this.#input;
    const questions = new GuardrailQuestions(this.#context, this.#input, { place, name });
    const startedAt = performance.now();
    const verdict = await inSpan(`guardrail ${name}`, {}, async (span) => {
      const said = await this.#verdict(guardrail, value, looked, questions);
      if (span) {
        const about = { "gluellm.guardrail": name, "gluellm.guardrail.stage": stage };
        setSpanAttributes({ ...about, "gluellm.guardrail.action": said.action }, span);
        if (said.action === "error") markFailed(span, { code: "guardrail_failed", message: said.reason });
      }
      return said;
    });
    const { action } = verdict;
    const isShadow = mode === "shadow";
    const report: GuardrailReport = {
      ...{ name, stage, action },
      ...("reason" in verdict &&
        verdict.reason !== undefined && { reason: boundedText(verdict.reason, MAX_REASON_BYTES) }),
      ...(isShadow && { shadow: true as const }),
      ...(looked.toolName !== undefined && { toolName: looked.toolName }),
      ...(questions.count > 0 && { costUsd: questions.costUsd }),
      durationMs: Math.round(performance.now() - startedAt),
    };
    this.#context.metrics?.guardrailAsked(report);
    // What it said of the text may quote it.
    if (action !== "allow")
      logger.info({ guardrail: name, stage, action, shadow: isShadow }, "a guardrail spoke up");
    const said = { report, ...(action === "rewrite" && { value: verdict.value }) };
    await journal?.append({ kind: "guardrail", place, ...said, at: Date.now(), attemptsMade });
    return said;
  }

  /** What it says, in a form that counts. */
  async #verdict(
    guardrail: Guardrail,
    value: unknown,
    looked: Looked,
    questions: GuardrailQuestions,
  ): Promise<Verdict | { action: "error"; reason: string }> {
    const { stage } = guardrail;
    try {
      const verdict = verdictSchema.parse(await this.#look(guardrail, value, looked, questions));
      if (verdict.action !== "rewrite") return verdict;
      const { reason = "what was asked would have to be rewritten" } = verdict;
      // It is on its way already.
      if (stage === "parallel") return { action: "block", reason };
      const written = values[stage]?.parse(verdict.value);
      return { ...verdict, value: stage === "pre" ? rewritten(value as Message[], written) : written };
    } catch (error) {
      this.#input.signal.throwIfAborted();
      const cause = questions.fault ?? error;
      if (cause instanceof FencedError || cause instanceof NotStartedError) throw cause;
      const reason =
        cause instanceof GlueError ? cause.code : cause instanceof z.ZodError ? "no verdict" : "it threw";
      if (guardrail.mode === "shadow" || guardrail.onError === "allow") return { action: "error", reason };
      throw cause instanceof GlueError ? cause : failedError(guardrail, cause);
    }
  }

  async #look(
    { check, stage, timeoutMs }: Guardrail,
    value: unknown,
    { messages = [], ...looked }: Looked,
    questions: GuardrailQuestions,
  ) {
    const { jobId, payload, signal: ofJob } = this.#input;
    const signal = AbortSignal.any([ofJob, AbortSignal.timeout(timeoutMs)]);
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      ofJob.throwIfAborted();
      const shown = Array.isArray(value) ? (value as Message[]) : messages;
      const looking = check({
        ...{ stage, text: textOf(value), messages: shown, ...looked },
        ...(stage === "tool" && { arguments: value }),
        ...{ agent: this.#agent().name, jobId, context: payload.context ?? {}, signal },
        ask: (question, options) => questions.ask(question, options),
      });
      return await Promise.race([looking, aborted]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}

/** Returns messages with what a guardrail wrote: all of them, or the text of the user's last one. */
function rewritten(own: readonly Message[], value: unknown): Message[] {
  if (Array.isArray(value)) return value as Message[];
  const at = own.findLastIndex(({ role }) => role === "user");
  return own.map((message, i) =>
    i === at ? { ...message, content: withText(message.content, String(value)) } : message,
  );
}

/** Pictures and the like stay. */
function withText(content: Message["content"], text: string): Message["content"] {
  if (!Array.isArray(content)) return text;
  const others = content.filter((part) => !isObject(part) || part.type !== "text");
  return [{ type: "text", text }, ...others] as Message["content"];
}

/** The text of what is looked at. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return JSON.stringify(value ?? null);
  const last = (value as Message[]).findLast(({ role }) => role === "user");
  const { content } = last ?? {};
  if (!Array.isArray(content)) return content ?? "";
  return content
    .flatMap((part) => (isObject(part) && typeof part.text === "string" ? part.text : []))
    .join("\n");
}

export function blockedError({ name, stage, reason = "" }: GuardrailReport): GuardrailError {
  return new GuardrailError({
    message: `the guardrail "${name}" blocked ${stage === "post" ? "the answer" : "what was asked"}`,
    hint: "what it says is in the job's journal and in `reason`; correct the request, or the guardrail",
    context: { guardrail: name, stage, reason: reason.slice(0, 300) },
  });
}

function failedError({ name, timeoutMs }: Guardrail, cause: unknown): GlueError {
  const isLate = cause instanceof DOMException && cause.name === "TimeoutError";
  const why = isLate
    ? `did not end within ${timeoutMs / 1000} s`
    : cause instanceof z.ZodError
      ? `returned no verdict: ${cause.issues[0]?.message}`
      : `threw ${cause instanceof Error ? cause.name : typeof cause}`;
  return new GlueError({
    code: "guardrail_failed",
    category: "input",
    message: `the guardrail "${name}" ${why}`,
    hint: 'correct it, or give it onError: "allow"; the job is tried again as after any fault',
  });
}
