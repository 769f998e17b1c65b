import type { Dialect, ProviderEntry } from "../../shared/providers.ts";
import type { HttpPool, PoolOptions } from "../http-pool.ts";
import { createAnthropicBatches } from "./anthropic-batches.ts";
import { createOpenAIBatches } from "./openai-batches.ts";
import type { ProviderBatches } from "./provider-batches.ts";

const CREATE: Record<Dialect, (entry: ProviderEntry, pool: HttpPool) => ProviderBatches> = {
  openai: createOpenAIBatches,
  anthropic: createAnthropicBatches,
};
/** Built-in entries whose servers have them. */
const WITH_BATCHES = new Set(["openai", "anthropic", "simulator"]);

/** Returns whether an entry's server has batches at a lower price: as its settings say, else as is known of it. */
export function hasBatches({ name, batches }: ProviderEntry): boolean {
  return batches ?? WITH_BATCHES.has(name);
}

/** Returns the batches of an entry's account. @throws ConfigurationError when its key is missing */
export async function createBatches(
  entry: ProviderEntry,
  options: PoolOptions = {},
): Promise<ProviderBatches> {
  // Every client loads this file, and undici's hundred files are for those that buy.
  const { createHttpPool } = await import("../http-pool.ts");
  return CREATE[entry.dialect](entry, createHttpPool(entry, { connections: 8, ...options }));
}
