import { request } from "undici";

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

const TIMEOUT_MS = 5000;

/** Posts an alert. Returns what went wrong, without the address; undefined when it was taken. A redirect is not followed. */
export async function postAlert(
  url: string,
  { kind, ...message }: AlertMessage,
): Promise<string | undefined> {
  const { namespace, state, text } = message;
  const body = { type: `alert.${kind}`, ...message, text: `[gluellm ${namespace}] ${state}: ${text}` };
  try {
    const response = await request(url, {
      method: "POST",
      headers: { "content-type": "application/json", "user-agent": "gluellm" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.body.dump();
    const { statusCode } = response;
    return statusCode >= 200 && statusCode < 300 ? undefined : `the webhook answered ${statusCode}`;
  } catch (error) {
    const { name, code } = error as Error & { code?: string };
    return `the webhook cannot be reached: ${code ?? name}`;
  }
}
