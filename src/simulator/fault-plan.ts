import { sha256 } from "../shared/digest.ts";
import type { SimulatedAnswer } from "./answer.ts";
import { type CheckedFaults, FAULT_KINDS, type FaultKind } from "./faults.ts";
import { shareOf } from "./request-hash.ts";

/** The most distinct requests remembered; the oldest are forgotten first, and count from 1 again. */
const MAX_REMEMBERED = 1_000_000;

/** A fault to inject, with its times in milliseconds. */
export interface Fault {
  kind: FaultKind;
  retryAfterMs: number | undefined;
  hangMs: number;
  latencyMs: number;
}

/** What comes of one attempt at a request. */
export interface AttemptOutcome {
  fault: Fault | undefined;
  /** A number in [0, 1), for the jitter of the latency. */
  jitterShare: number;
}

/**
 * Decides each attempt from the seed, the request's content and how often that content has come: a run is
 * repeatable whatever its concurrency and the order of arrival.
 */
export class FaultPlan {
  readonly #seed: number;
  #faults: CheckedFaults;
  #attempts = new Map<string, number>();
  #ruleUses = new Map<string, number>();

  constructor(seed: number, faults: CheckedFaults) {
    this.#seed = seed;
    this.#faults = faults;
  }

  /** Takes new faults, and counts from zero. */
  replace(faults: CheckedFaults): void {
    this.#faults = faults;
    this.reset();
  }

  reset(): void {
    this.#attempts = new Map();
    this.#ruleUses = new Map();
  }

  /**
   * Returns the outcome of the next attempt at a request.
   * @param own the fault that the request asks for itself, the first `times` times
   */
  next(contentHash: string, lastUserText: string, own?: SimulatedAnswer["error"]): AttemptOutcome {
    const attempt = count(this.#attempts, contentHash);
    const digest = sha256(`${this.#seed}:${contentHash}:${attempt}`);
    return {
      fault:
        (own && attempt <= own.times ? this.#ofKind(own.kind) : undefined) ??
        this.#scripted(contentHash, lastUserText) ??
        this.#drawn(shareOf(digest)),
      jitterShare: shareOf(digest, 12),
    };
  }

  #scripted(contentHash: string, lastUserText: string): Fault | undefined {
    for (const [index, rule] of this.#faults.script.entries()) {
      if (!lastUserText.includes(rule.match)) continue;
      const use = count(this.#ruleUses, `${index}:${contentHash}`);
      if (use > (rule.times ?? Number.POSITIVE_INFINITY)) continue;
      return {
        kind: rule.fault,
        retryAfterMs: rule.retryAfterMs ?? this.#faults.retryAfterMs,
        hangMs: rule.hangMs ?? this.#faults.hangMs,
        latencyMs: rule.latencyMs ?? this.#faults.latencyMs,
      };
    }
    return undefined;
  }

  #drawn(share: number): Fault | undefined {
    let upTo = 0;
    const kind = FAULT_KINDS.find((candidate) => {
      upTo += this.#faults[candidate];
      return share < upTo;
    });
    return kind && this.#ofKind(kind);
  }

  #ofKind(kind: FaultKind): Fault {
    const { retryAfterMs, hangMs, latencyMs } = this.#faults;
    return { kind, retryAfterMs, hangMs, latencyMs };
  }
}

function count(counts: Map<string, number>, key: string): number {
  const next = (counts.get(key) ?? 0) + 1;
  counts.set(key, next);
  if (counts.size > MAX_REMEMBERED) {
    for (const oldest of counts.keys()) {
      counts.delete(oldest);
      break;
    }
  }
  return next;
}
