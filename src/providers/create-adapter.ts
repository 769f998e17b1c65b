import type { Dialect, ProviderEntry } from "../shared/providers.ts";
import { createAnthropicAdapter } from "./anthropic.ts";
import { createOpenAIAdapter } from "./openai.ts";
import type { AdapterOptions, ProviderAdapter } from "./provider.ts";

const CREATE: Record<Dialect, (entry: ProviderEntry, options: AdapterOptions) => ProviderAdapter> = {
  openai: createOpenAIAdapter,
  anthropic: createAnthropicAdapter,
};

/**
 * Returns the adapter for an entry's dialect. A new dialect is one new file and one row above.
 * @throws ConfigurationError when the key is missing; AuthenticationError when no HTTP header can carry it.
 */
export function createAdapter(entry: ProviderEntry, options: AdapterOptions = {}): ProviderAdapter {
  return CREATE[entry.dialect](entry, options);
}
