import { createHmac } from "node:crypto";
import { sha256 } from "../shared/digest.ts";
import type { OutboxEvent } from "../store/outbox-event.ts";
import type { WebhookMessage } from "../store/webhook-log.ts";

/*
 * What a receiver gets: the body of an event, in the shape of OpenAI's, and its signature as Standard Webhooks have it. The body is thin:
 * ids and states. Whoever may see the rest asks the API for it.
 */

/** Returns the message of an event: the same one each time, so that receivers know by its id what they have. */
export function messageOf(event: OutboxEvent): WebhookMessage {
  const { kind, id, version, type, endedAt } = event;
  const eventId = `evt_${sha256(`${kind}|${id}|${version}`).slice(0, 32)}`;
  return { eventId, type, body: bodyOf(eventId, type, endedAt, dataOf(event)) };
}

/** Returns the message of a test, which tells of nothing that has happened. */
export function testMessage(eventId: string, tenant: string): WebhookMessage {
  const type = "webhook.test";
  return { eventId, type, body: bodyOf(eventId, type, Date.now(), { id: eventId, tenant }) };
}

function bodyOf(id: string, type: string, atMs: number, data: Record<string, unknown>): string {
  return JSON.stringify({
    ...{ id, object: "event", type },
    ...{ created_at: Math.floor(atMs / 1000), timestamp: new Date(atMs).toISOString() },
    data,
  });
}

/** Fields that are not known are left out. */
function dataOf({ id, state, tenant, ...event }: OutboxEvent): Record<string, unknown> {
  return { id, state, tenant, ...detailsOf(event) };
}

function detailsOf(event: Pick<OutboxEvent, "kind"> & { figures: object }): Record<string, unknown> {
  const { kind, figures } = event as OutboxEvent;
  switch (kind) {
    case "job": {
      const { model, batchId, customId, runId, step, conversationId, errorCode, approvals } = figures;
      return { model, batchId, customId, runId, step, conversationId, errorCode, approvals };
    }
    case "run": {
      const { workflow, parentRunId, errorCode } = figures;
      return { workflow, parentRunId, errorCode };
    }
    case "batch": {
      const { total, succeeded, failed } = figures;
      return { counts: { total, succeeded, failed } };
    }
    case "schedule": {
      const { plannedAt, count, startedId } = figures;
      return { plannedAt: new Date(plannedAt).toISOString(), count, startedId };
    }
    case "alert":
      return { ...figures };
  }
}

/** Returns the headers that prove who sent a body: one signature by each secret that counts. */
export function signedHeaders(
  { eventId, body }: Pick<WebhookMessage, "eventId" | "body">,
  secrets: readonly string[],
  atMs: number,
): Record<string, string> {
  const timestamp = String(Math.floor(atMs / 1000));
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    return `v1,${createHmac("sha256", key).update(`${eventId}.${timestamp}.${body}`).digest("base64")}`;
  });
  return {
    "webhook-id": eventId,
    "webhook-timestamp": timestamp,
    "webhook-signature": signatures.join(" "),
  };
}
