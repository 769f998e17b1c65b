import { ConfigurationError } from "../shared/errors.ts";

/** When a circuit breaker opens, and how it closes. */
export interface CircuitBreakerSettings {
  /**
   * The breaker opens when this share of the calls failed, of the window or of its latest 50; a request that fails again
   * is not counted again. Above 0, at most 1; default 0.5.
   */
  failureRate: number;
  /** Fewer calls in the window do not make a rate; then ten different requests that fail in a row open it. Default 20. */
  minCalls: number;
  /** Length of the rolling window, which has ten slots; default 30,000. */
  windowMs: number;
  /** Time from the opening, or from a failed probe, to the next probe; default 2,000. */
  cooldownMs: number;
  /** A probe that is not back by then gives its turn to another; default 10,000. */
  probeMs: number;
  /** Any failure opens it when nothing has succeeded for so long since the first of the failures; default 60,000. */
  quietMs: number;
  /**
   * When it opened by that alone, the few requests that failed may themselves be at fault: so long after the opening,
   * their failures use up attempts again. Default 720,000.
   */
  patienceMs: number;
}

const DEFAULTS: CircuitBreakerSettings = {
  failureRate: 0.5,
  minCalls: 20,
  windowMs: 30_000,
  cooldownMs: 2000,
  probeMs: 10_000,
  quietMs: 60_000,
  patienceMs: 720_000,
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
