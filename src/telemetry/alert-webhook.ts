import { sha256 } from "../shared/digest.ts";
import type { Settings } from "../shared/settings.ts";

/** What is posted. `text` alone is what chat services show. */
export interface AlertMessage {
  kind: string;
  /** A queue; empty of the whole fleet. */
  subject: string;
  state: "firing" | "resolved";
  namespace: string;
  value?: number;
  limit?: number;
  /** Epoch milliseconds: since when it is found, and of this message. */
  since?: number;
  at: number;
  text: string;
}

/** All alerts of a look are told before another process looks. */
const MAX_TIMEOUT_MS = 5000;

/**
 * Posts an alert, by the rules of webhooks: to public addresses and those allowed, no redirect, no proxy. Returns what went wrong, without
 * the address; undefined when it was taken.
 */
export async function postAlert(
  url: string,
  { kind, ...message }: AlertMessage,
  { allowPrivate, timeoutMs }: Settings["webhooks"],
): Promise<string | undefined> {
  const { namespace, subject, state, text, at } = message;
  const type = `alert.${kind}`;
  const body = JSON.stringify({ type, ...message, text: `[gluellm ${namespace}] ${state}: ${text}` });
  const eventId = `evt_${sha256(`${type}|${subject}|${state}|${at}`).slice(0, 32)}`;
  const rules = { allowPrivate, timeoutMs: Math.min(timeoutMs, MAX_TIMEOUT_MS) };
  // With its client of HTTP: most processes never send one.
  const { sendMessage } = await import("../webhooks/send.ts");
  return (await sendMessage(url, { eventId, type, body }, [], rules)).error;
}
