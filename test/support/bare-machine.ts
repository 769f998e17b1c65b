import { onTestFinished } from "vitest";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../src/simulator/simulator.ts";
import { redisOptions } from "./redis-folders.ts";

/** A machine on which nothing runs but a provider; with the Redis of the data folder, if one is given that has it. */
export async function bareMachine(dataDir = redisOptions().dataDir, options: SimulatorOptions = {}) {
  const simulator: Simulator = await startSimulator({ latencyMs: 5, jitterMs: 0, ...options });
  onTestFinished(() => simulator.close());
  const env = {
    GLUELLM_DATA_DIR: dataDir,
    GLUELLM_DEFAULT_MODEL: "simulator:demo",
    SIMULATOR_BASE_URL: `${simulator.url}/v1`,
  };
  return { simulator, env };
}
