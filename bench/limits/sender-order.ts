import type { Limits, Sizes } from "./load.ts";

/** What lets requests through to the provider: our limiter, or a peer. */
export type GateName = "gluellm" | "bottleneck" | "bullmq" | "retryAfter" | "fullJitter";

/** What a sender process does. */
export interface SenderOrder {
  gate: GateName;
  /** Names the model at the provider and the keys in Redis. */
  name: string;
  redisSocket: string;
  providerUrl: string;
  limits: Limits;
  /** Only gluellm's limiter has one. */
  quantumMs: number;
  /** Callers: requests that this process would have under way at a time. */
  slots: number;
  sizes: Sizes;
  /** Estimate = size × this. */
  estimateFactor: number;
  /** Jobs laid into the queue beforehand, where the gate has one. */
  backlog: number;
  /** So many processes of a fleet are simulated by this one: each has a gate, connections and callers of its own. */
  simulated?: number;
}
