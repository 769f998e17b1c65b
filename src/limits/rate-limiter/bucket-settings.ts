/** How one limit (requests or tokens per minute) is kept as a token bucket in Redis. */
export interface BucketSettings {
  ratePerSecond: number;
  /** Units bought at once. All purchases weigh the same, so none starves behind smaller ones. */
  quantum: number;
  /** What a quantum may be cut to in a large fleet, since what is left of all of them has to fit into the headroom. */
  leastQuantum: number;
  /** Most units the shared bucket holds. */
  maximum: number;
  /** Units of the provider's bucket that stay free. Half of them may be had before they have come, by a call that somebody waits for beside a batch. */
  headroom: number;
  /** The bucket is too small to hold a unit and headroom: units are granted one by one at even spacing. */
  isPaced: boolean;
}

const DEFAULT_QUANTUM_MS = 50;
/** How much later than its neighbour a request may reach the provider (a cold TLS connection). */
const PACING_JITTER_MS = 100;

/**
 * Fits the shared bucket into the provider's bucket C = `burstSeconds` × rate (at least 1 unit), so that
 * `maximum + processes × quantum + jitter × rate ≤ C`: units in allotments and requests that travel at different
 * speeds must fit beside a full bucket. The headroom is 0.3 s of rate (3 % of long buckets, 30 % of buckets
 * under 1 s); a quantum is at most a sixth of it.
 *
 * @param perMinute the limit, greater than 0
 * @param burstSeconds the provider's bucket in seconds of rate
 * @param quantumMs of rate to buy at once
 * @param leastQuantum what a call takes where all take the same; else a call would be paid in parts, and each process would hold some
 */
export function bucketSettings(
  perMinute: number,
  burstSeconds = 1,
  quantumMs = DEFAULT_QUANTUM_MS,
  leastQuantum = Number.POSITIVE_INFINITY,
): BucketSettings {
  const ratePerSecond = perMinute / 60;
  const headroomSeconds = Math.max(Math.min(0.3, 0.3 * burstSeconds), 0.03 * burstSeconds);
  const maximum = Math.floor(ratePerSecond * (burstSeconds - headroomSeconds));
  if (maximum < 1) return pacedSettings(ratePerSecond, burstSeconds);
  const quantum = Math.max(1, Math.round(ratePerSecond * Math.min(quantumMs / 1000, headroomSeconds / 6)));
  return {
    ratePerSecond,
    quantum,
    leastQuantum: Math.min(quantum, leastQuantum),
    maximum,
    headroom: ratePerSecond * headroomSeconds,
    isPaced: false,
  };
}

/**
 * One unit every `1 / rate`, plus what jitter the provider's bucket does not absorb. A bucket of one unit in
 * Redis could not be exact: its grants come late by up to a heartbeat, and the next one on time.
 */
function pacedSettings(ratePerSecond: number, burstSeconds: number): BucketSettings {
  const intervalMs = 1000 / ratePerSecond;
  const absorbedMs = Math.max(0, burstSeconds * ratePerSecond - 1) * intervalMs;
  const minTime = Math.ceil(intervalMs + Math.max(0, PACING_JITTER_MS - absorbedMs));
  return {
    ratePerSecond: 1000 / minTime,
    quantum: 1,
    leastQuantum: 1,
    maximum: 1,
    headroom: 0,
    isPaced: true,
  };
}
