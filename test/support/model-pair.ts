import { GlueLLM, type GlueLLMOptions } from "../../src/index.ts";
import { loadSettings, type Settings } from "../../src/shared/settings.ts";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../src/simulator/simulator.ts";
import { type RedisKeys, redisKeys } from "../../src/store/redis-keys.ts";
import { TestSite } from "./site.ts";

export const FIRST = "simulator:first";
export const SECOND = "spare:second";
export const BOTH = [FIRST, SECOND];

/** Two providers of different dialects, each a simulator of its own. */
export interface ModelPair extends AsyncDisposable {
  site: TestSite;
  first: Simulator;
  second: Simulator;
  settings: Settings;
  keys: RedisKeys;
  /** A client that asks both, and works too unless told otherwise. */
  client(options?: GlueLLMOptions): GlueLLM;
}

export async function openPair(
  options: { first?: SimulatorOptions; second?: SimulatorOptions; env?: Record<string, string> } = {},
): Promise<ModelPair> {
  await using parts = new AsyncDisposableStack();
  const second = await startSimulator({ latencyMs: 5, jitterMs: 0, ...options.second });
  parts.defer(() => second.close());
  const spare = { dialect: "anthropic", baseUrl: second.url, keyOptional: true };
  const env = { GLUELLM_PROVIDERS: JSON.stringify({ spare }), ...options.env };
  const site = parts.use(await TestSite.open(options.first, env));
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const opened = parts.move();
  return {
    site,
    first: site.simulator,
    second,
    settings,
    keys: redisKeys(site.namespace),
    client: (own = {}) => opened.use(new GlueLLM({ model: BOTH, mode: "local", settings, ...own })),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** The status of every call that a provider saw. */
export function statuses(simulator: Simulator): (number | null)[] {
  return simulator.journal.entries().map(({ status }) => status);
}
