import { parseModel } from "../shared/model-name.ts";
import type { SemanticSettings } from "../shared/semantic-setting.ts";
import type { Settings } from "../shared/settings.ts";
import { SemanticIndex } from "../store/semantic-index.ts";
import type { Store } from "../store/store.ts";

/** What the semantic cache of a process has. */
export interface SemanticCache {
  settings: SemanticSettings;
  index: SemanticIndex;
}

/** Opens the semantic cache of a process. @throws InputError when one of its models is of no provider */
export function openSemanticCache(
  store: Store,
  settings: SemanticSettings,
  providers: Settings["providers"],
): SemanticCache {
  const entries = Object.keys(providers);
  for (const model of [settings.model, settings.judge]) if (model !== undefined) parseModel(model, entries);
  return { settings, index: new SemanticIndex(store) };
}
