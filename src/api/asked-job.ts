import type { ChatMessage, EnqueueOptions } from "../calls/completion-options.ts";
import type { CompletionHandle } from "../client/completion-handle.ts";
import { sha256 } from "../shared/digest.ts";
import { answered, expectAnswer, takeUp } from "../store/undelivered.ts";
import { badParameter } from "./api-error.ts";
import type { Call } from "./route.ts";

/** A job that a request of the API waits for. */
export interface AskedJob {
  handle: CompletionHandle;
  /** Cancels the job when the client goes away and has asked for that. */
  [Symbol.asyncDispose](): Promise<void>;
}

const MAX_KEY_CHARS = 255;

/**
 * Enqueues the job of a request. With the header `Idempotency-Key` it is the job that the key stands for. A client's own retry
 * (`x-stainless-retry-count` over 0) gets the job of the equal request before it, when that one's answer was not sent whole,
 * for 10 minutes.
 * @throws as `enqueue` of a client
 */
export async function askJob(
  call: Call,
  messages: ChatMessage[],
  options: EnqueueOptions,
  kind: string,
): Promise<AskedJob> {
  const { context, principal, request, response, requestId, trace, signal } = call;
  const { store } = context;
  const client = context.clientOf(principal);
  const { key, digest, known } = await askedBefore(call, kind);
  const named = { ...options, ...trace, requestId, idempotencyKey: key && `${kind} ${key}` };
  const handle = known === undefined ? await client.enqueue(messages, named) : client.handle(known);
  response.set("x-gluellm-job-id", handle.id);
  if (key === undefined && known === undefined) {
    // Nobody waits for it: it is for a retry that comes later.
    expectAnswer(store, digest, handle.id).catch(() => {});
  }
  response.once("finish", () => void answered(store, digest, handle.id).catch(() => {}));
  const mayCancel = request.headers["x-gluellm-on-disconnect"] === "cancel";
  return {
    handle,
    [Symbol.asyncDispose]: async () => {
      if (mayCancel && signal.aborted && !context.draining.aborted) await handle.cancel().catch(() => {});
    },
  };
}

/** A request by which an equal one is known. */
interface AskedBefore {
  /** The caller's name for it, from `Idempotency-Key`. */
  key: string | undefined;
  /** Of the caller and of all that it asks. */
  digest: string;
  /** What an equal request began whose answer was not sent whole, for a client's own retry without a key. */
  known: string | undefined;
}

/**
 * Returns by what a request is known again, and what was begun for it.
 * @param content all that it asks; default: its body
 * @throws ApiError 400 for a key that is too long
 */
export async function askedBefore(
  { context, principal, request }: Call,
  kind: string,
  content = String(request.body),
): Promise<AskedBefore> {
  const key = idempotencyKeyOf(request.headers["idempotency-key"]);
  const digest = sha256(`${principal.tenant} ${principal.keyId} ${kind}\n${content}`);
  const isRetry = Number(request.headers["x-stainless-retry-count"] ?? 0) > 0;
  const known = key === undefined && isRetry ? await takeUp(context.store, digest) : undefined;
  return { key, digest, known };
}

function idempotencyKeyOf(header: string | string[] | undefined): string | undefined {
  if (header === undefined || header === "") return undefined;
  const key = String(header);
  if (key.length <= MAX_KEY_CHARS) return key;
  throw badParameter("Idempotency-Key", `the key has more than ${MAX_KEY_CHARS} characters`);
}
