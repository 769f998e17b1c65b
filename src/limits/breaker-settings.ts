import { ConfigurationError } from "../shared/errors.ts";

/** When a circuit breaker opens, and how it closes. */
export interface CircuitBreakerSettings {
  /** The breaker opens when this share of the calls failed, of the window or of its latest 50. Above 0, at most 1; default 0.5. */
  failureRate: number;
  /** Fewer calls in the window do not make a rate; then ten failures in a row, however far apart, open it. Default 20. */
  minCalls: number;
  /** Length of the rolling window, which has ten slots; default 30,000. */
  windowMs: number;
  /** Time from the opening, or from a failed probe, to the next probe; default 2,000. */
  cooldownMs: number;
  /** A probe that is not back by then gives its turn to another; default 10,000. */
  probeMs: number;
}

const DEFAULTS: CircuitBreakerSettings = {
  failureRate: 0.5,
  minCalls: 20,
  windowMs: 30_000,
  cooldownMs: 2000,
  probeMs: 10_000,
};

/**
 * Returns the settings with a default for each that is left out.
 * @throws ConfigurationError when one is out of range
 */
export function breakerSettings(settings: Partial<CircuitBreakerSettings> = {}): CircuitBreakerSettings {
  const names = Object.keys(DEFAULTS) as (keyof CircuitBreakerSettings)[];
  const merged = { ...DEFAULTS };
  for (const name of names) {
    const value = settings[name] ?? DEFAULTS[name];
    const most = name === "failureRate" ? 1 : Number.MAX_SAFE_INTEGER;
    if (!(value > 0 && value <= most)) {
      throw new ConfigurationError(
        `circuit breaker: ${name} must be above 0 and at most ${most}, not ${value}`,
      );
    }
    merged[name] = value;
  }
  return merged;
}
