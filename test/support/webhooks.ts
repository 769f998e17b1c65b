import OpenAI from "openai";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings, withSettings } from "../../src/shared/settings.ts";
import type { ConnectedStore } from "../../src/store/connected-store.ts";
import { WebhookHost } from "../../src/webhooks/host.ts";
import { Webhooks } from "../../src/webhooks/webhooks.ts";
import { testNamespace, testStore } from "./redis.ts";
import type { WireRequest } from "./wire-server.ts";

/** Events of a receiver, as OpenAI's client reads them. */
export interface ReceivedEvent {
  id: string;
  object: string;
  type: string;
  created_at: number;
  timestamp: string;
  data: Record<string, unknown>;
}

/** Reads a request as a receiver does. @throws when the signature is not good */
export async function unwrap({ body, headers }: WireRequest, secret: string): Promise<ReceivedEvent> {
  const openai = new OpenAI({ apiKey: "none", webhookSecret: secret });
  return (await openai.webhooks.unwrap(body, headers as Record<string, string>)) as unknown as ReceivedEvent;
}

/** Loopback is allowed, where the tests' receivers are. */
export const LOOPBACK = { GLUELLM_WEBHOOK_ALLOW_PRIVATE: "127.0.0.0/8" };

export interface WebhookSite {
  store: ConnectedStore;
  webhooks: Webhooks;
  of: (tenant: string) => Webhooks;
  /** Starts a process's part of it; the caller closes it. */
  host: () => WebhookHost;
}

/** A namespace whose webhooks are told in this process. */
export function webhookSite(
  retryDelaysMs: readonly number[],
  env: Record<string, string> = LOOPBACK,
  namespace = testNamespace(),
): WebhookSite {
  const settings = withSettings(loadSettings({ env, cwd: "/" }), { namespace });
  const store = testStore(settings.namespace);
  const logger = createLogger({ level: "silent", json: true });
  return {
    store,
    webhooks: new Webhooks({ store, settings }),
    of: (tenant) => new Webhooks({ store, settings }, tenant),
    host: () => new WebhookHost({ store, settings, logger, retryDelaysMs }),
  };
}
