import type { Redis } from "ioredis";
import type { Logger } from "../shared/logger.ts";
import type { Redact } from "../shared/redact.ts";
import type { KeyRing } from "./key-ring.ts";
import { Notifier } from "./notifier.ts";
import { connectRedis } from "./redis.ts";
import type { RedisTarget } from "./redis-target.ts";
import { type Store, storeOf } from "./store.ts";

/** The store of a whole process: one connection for commands, and one for messages, which begins with its first listener. */
export interface ConnectedStore extends Store {
  readonly notifier: Notifier;
  /** Ends both connections at once. */
  disconnect(): void;
}

/** Returns the connected store of `namespace` whose commands go over `redis`. */
export function connectedStore(
  redis: Redis,
  namespace: string,
  ring?: KeyRing,
  redact?: Redact,
): ConnectedStore {
  const store = storeOf(redis, namespace, ring, redact);
  const notifier = new Notifier(store);
  const disconnect = () => {
    notifier.close();
    redis.disconnect();
  };
  return { ...store, notifier, disconnect };
}

/** Returns the connected store of `namespace` over a new connection to `target`; whoever opens it disconnects it. */
export function openStore(
  target: RedisTarget,
  namespace: string,
  logger: Logger,
  ring?: KeyRing,
  redact?: Redact,
): ConnectedStore {
  const redis = connectRedis(target, logger, { connectionName: "gluellm:commands" });
  return connectedStore(redis, namespace, ring, redact);
}
