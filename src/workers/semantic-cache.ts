import { ConcurrencyController } from "../limits/concurrency-controller.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import type { ChatCompletion, ChatRequest } from "../shared/chat.ts";
import { sha256 } from "../shared/digest.ts";
import { type ModelRef, parseModel } from "../shared/model-name.ts";
import type { SemanticSettings } from "../shared/semantic-setting.ts";
import { vetoOf } from "../shared/semantic-veto.ts";
import { textToVector } from "../shared/vector-text.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import type { Neighbour } from "../store/semantic-index.ts";
import { bandOf, bookSemantic, type SemanticCount } from "../store/semantic-report.ts";
import { countCall } from "../store/usage.ts";
import type { WorkerContext } from "./context.ts";
import { type CallInput, callProvider } from "./provider-call.ts";

/** Longer texts are no questions that somebody asks in other words. */
const MAX_CHARS = 2000;
/** A vector that takes longer is not worth the wait. */
const EMBEDDING_TIMEOUT_MS = 10_000;

interface AskInput extends CallInput {
  /** Told of each further call that was paid for, as that for a vector; without it nothing is compared. */
  onSideCall?: (call: FinishedCall) => void;
}

/** An answer as the cache has it. */
type KeptAnswer = Pick<FinishedCall, "statusCode" | "requestId" | "body">;

interface Asking {
  /** Of all that is asked but the last text, which alone is compared. */
  scopeOf: (request: ChatRequest) => string | undefined;
  /** Returns the answer that stands under a digest; undefined when it is gone or will not do. */
  answerOf: (digest: string) => Promise<KeptAnswer | undefined>;
}

/** A question that was compared with earlier ones. */
export interface Compared {
  /** What the nearest one was answered, when nothing speaks against it. */
  near: (Neighbour & { entry: KeptAnswer }) | undefined;
  scope: string;
  text: string;
  vector: Float32Array;
}

/**
 * Compares what is asked with the earlier questions of its scope; undefined when it is nothing to compare, or could not be. The call
 * for its vector is paid for by the job. No fault of it fails the job.
 */
export async function compareQuestion(
  context: WorkerContext,
  input: AskInput,
  { scopeOf, answerOf }: Asking,
): Promise<Compared | undefined> {
  const { semantic, store } = context;
  const text = semantic && questionOf(input.request);
  if (!semantic || text === undefined || !input.onSideCall) return undefined;
  const scope = scopeOf(withoutText(input.request));
  if (scope === undefined) return undefined;
  const counts: { [Name in SemanticCount]?: number } = { asked: 1 };
  try {
    const { settings, index } = semantic;
    const space = sha256(canonicalJson([scope, settings.model, settings.dimensions]));
    const vector = await vectorOf(context, input, settings, text, counts);
    let near: Compared["near"];
    for (const neighbour of await index.nearest(space, vector, settings.threshold)) {
      const veto = vetoOf(text, neighbour.text);
      if (veto) {
        counts[`veto:${veto}`] = (counts[`veto:${veto}`] ?? 0) + 1;
        continue;
      }
      const entry = await answerOf(neighbour.digest);
      if (entry) {
        near = { ...neighbour, entry };
        break;
      }
      await index.forget(space, neighbour.digest);
    }
    if (near) Object.assign(counts, bookNear(near, settings));
    return { near, scope: space, text, vector };
  } catch (error) {
    counts.failed = 1;
    input.logger.debug({ err: error }, "a question could not be compared with earlier ones");
    return undefined;
  } finally {
    await bookSemantic(store, counts).catch(() => {});
  }
}

function bookNear({ costUsd }: Neighbour, { mode }: SemanticSettings): { [Name in SemanticCount]?: number } {
  if (mode === "shadow") return { near: 1 };
  return { near: 1, served: 1, ...(costUsd === null ? { unpriced: 1 } : { savedUsd: costUsd }) };
}

/** Keeps a question whose answer was kept under the digest; in shadow mode the answer is compared with that of its neighbour. */
export async function keepQuestion(
  context: WorkerContext,
  input: AskInput,
  { scope, text, vector, near }: Compared,
  { digest, ttlSeconds, call }: { digest: string; ttlSeconds: number; call: FinishedCall },
): Promise<void> {
  const { semantic, store } = context;
  if (!semantic) return;
  await semantic.index.add(scope, { digest, text, costUsd: call.costUsd }, vector, ttlSeconds);
  if (!near) return;
  const counts: { [Name in SemanticCount]?: number } = {};
  const isSame = await saysTheSame(context, input, text, [near.entry.body, call.body], counts);
  const outcome = isSame ? "agreed" : "differed";
  const { similarity, text: earlier } = near;
  const example = isSame ? undefined : { asked: text, earlier, similarity };
  await bookSemantic(store, { ...counts, [outcome]: 1, [`${outcome}:${bandOf(similarity)}`]: 1 }, example);
}

/** The last message, when it is a text of the user's. Pictures, tools' results and bodies in a provider's own words are not compared. */
function questionOf({ messages, n, embedding, responses, anthropic }: ChatRequest): string | undefined {
  const last = messages.at(-1);
  if (last?.role !== "user" || typeof last.content !== "string") return undefined;
  if (embedding || responses || anthropic || Number(n ?? 1) !== 1) return undefined;
  const text = last.content.trim();
  return text === "" || text.length > MAX_CHARS ? undefined : text;
}

function withoutText(request: ChatRequest): ChatRequest {
  const { messages } = request;
  return {
    ...request,
    messages: messages.map((one, i) => (i === messages.length - 1 ? { ...one, content: "" } : one)),
  };
}

async function vectorOf(
  context: WorkerContext,
  input: AskInput,
  { model, dimensions }: SemanticSettings,
  text: string,
  counts: { [Name in SemanticCount]?: number },
): Promise<Float32Array> {
  const request = {
    messages: [{ role: "user" as const, content: text }],
    embedding: dimensions > 0 ? { dimensions } : {},
  };
  const call = await callAside(context, input, model, request, "vector");
  counts.embeddingUsd = call.costUsd ?? 0;
  const vector = new Float32Array(textToVector(call.body.choices[0]?.message.content ?? ""));
  const length = Math.hypot(...vector);
  if (!(length > 0)) throw new Error("the vector has no length");
  return vector.map((value) => value / length);
}

/** Equal texts, or equal JSON, say the same; else the judge is asked, where there is one. */
async function saysTheSame(
  context: WorkerContext,
  input: AskInput,
  question: string,
  bodies: readonly [ChatCompletion, ChatCompletion],
  counts: { [Name in SemanticCount]?: number },
): Promise<boolean> {
  const [one = "", other = ""] = bodies.map(comparable);
  if (one === other) return true;
  const judge = context.semantic?.settings.judge;
  if (judge === undefined) return false;
  const asked = `Do both answers to the question say the same, so that each would do for the other? Answer with yes or no alone.\n\nQuestion:\n${question}\n\nFirst answer:\n${one}\n\nSecond answer:\n${other}`;
  const request = { messages: [{ role: "user" as const, content: asked }], temperature: 0, max_tokens: 16 };
  const call = await callAside(context, input, judge, request, "judge");
  counts.judgeUsd = call.costUsd ?? 0;
  return /^\W*yes\b/i.test(call.body.choices[0]?.message.content ?? "");
}

function comparable({ choices: [choice] }: ChatCompletion): string {
  const { content, tool_calls: calls } = choice?.message ?? {};
  if (calls?.length)
    return canonicalJson(calls.map(({ function: { name, arguments: args } }) => [name, asJson(args)]));
  return asJson(content ?? "");
}

/** JSON without its spaces and order; of another text the words alone. */
function asJson(text: string): string {
  try {
    return canonicalJson(JSON.parse(text));
  } catch {
    return text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]+/gu, " ")
      .trim();
  }
}

/** A call of another model for the job: with that model's budget, breaker and pauses, and the job's cost limits. */
async function callAside(
  context: WorkerContext,
  input: AskInput,
  name: string,
  request: ChatRequest,
  purpose: string,
): Promise<FinishedCall> {
  const call = await callProvider(context, {
    ...input,
    model: modelOf(context, name),
    request,
    wire: undefined,
    requestId: `${input.requestId}-${purpose}`,
    // It takes none of the places that the queue's controller counts.
    controller: new ConcurrencyController({ maxConcurrency: 1, firstConcurrency: 1, load: context.load }),
    timing: {},
    timeouts: { timeoutMs: EMBEDDING_TIMEOUT_MS },
    mayBePaused: true,
    isRouted: true,
    isRepeated: false,
    onDelta: undefined,
  } as CallInput);
  input.onSideCall?.(call);
  await countCall(context.store, call);
  return call;
}

function modelOf({ settings }: WorkerContext, name: string): ModelRef {
  return parseModel(name, Object.keys(settings.providers));
}
