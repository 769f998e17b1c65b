import { HIDDEN } from "../shared/encryption-setting.ts";
import { redactedMaybe } from "../shared/redact.ts";
import type { OutboxDetail } from "./outbox-event.ts";
import type { Store } from "./store.ts";

/*
 * What the history keeps of a job's prompt and answer, in its stream and in SQL: redacted, and encrypted where all is. An error's
 * message is not kept then: the job's record has it.
 */

const KINDS = { prompt: "past prompt of job", answer: "past answer of job" };

/** Returns a text, such as an error's message, as it is kept for people: redacted; hidden where contents are encrypted. */
export function toldText({ sealing, redact }: Store, text: string): string {
  return sealing.isOn ? HIDDEN : redactedMaybe(redact, text);
}

/** Returns what the history is told of a job, as it may be stored. */
export async function sealDetail<T extends OutboxDetail>(store: Store, jobId: string, detail: T): Promise<T> {
  const { prompt, answer, errorMessage, ...open } = detail;
  const seal = (kind: string, text: string) =>
    store.sealing.seal(kind, jobId, redactedMaybe(store.redact, text));
  return {
    ...open,
    ...(prompt !== undefined && { prompt: await seal(KINDS.prompt, prompt) }),
    ...(answer !== undefined && { answer: await seal(KINDS.answer, answer) }),
    ...(errorMessage !== undefined && { errorMessage: toldText(store, errorMessage) }),
  } as T;
}

/** Returns a job of the history with its prompt and answer in clear; what cannot be decrypted here is said to be encrypted. */
export async function openContents<T extends { id: string; prompt: string | null; answer: string | null }>(
  { sealing }: Store,
  job: T,
): Promise<T> {
  const open = (kind: string, text: string | null) =>
    sealing.openMaybe(kind, job.id, text).catch(() => HIDDEN);
  return {
    ...job,
    prompt: await open(KINDS.prompt, job.prompt),
    answer: await open(KINDS.answer, job.answer),
  };
}
