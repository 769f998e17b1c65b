/** How one limit (requests or tokens per minute) is kept as a token bucket in Redis. */
export interface BucketSettings {
  ratePerSecond: number;
  /** Units bought at once. All purchases weigh the same, so none starves behind smaller ones. */
  quantum: number;
  /** Most units the shared bucket holds. */
  maximum: number;
  /** Units that may be had before they have come, out of the headroom, by a call that somebody waits for beside a batch. */
  maxDebt: number;
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
 */
export function bucketSettings(
  perMinute: number,
  burstSeconds = 1,
  quantumMs = DEFAULT_QUANTUM_MS,
): BucketSettings {
  const ratePerSecond = perMinute / 60;
  const headroomSeconds = Math.max(Math.min(0.3, 0.3 * burstSeconds), 0.03 * burstSeconds);
  const maximum = Math.floor(ratePerSecond * (burstSeconds - headroomSeconds));
  if (maximum < 1) return pacedSettings(ratePerSecond, burstSeconds);
  return {
    ratePerSecond,
    quantum: Math.max(1, Math.round(ratePerSecond * Math.min(quantumMs / 1000, headroomSeconds / 6))),
    maximum,
    maxDebt: Math.floor((ratePerSecond * headroomSeconds) / 2),
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
  return { ratePerSecond: 1000 / minTime, quantum: 1, maximum: 1, maxDebt: 0, isPaced: true };
}
