import { didYouMean, hintOf } from "./did-you-mean.ts";
import { InputError } from "./errors.ts";

/** A model of one provider entry; `key` (`entry:model`) names its queue and its budget. */
export interface ModelRef {
  entry: string;
  model: string;
  key: string;
}

/** No provider entry has this name: it stands before a name of deployments. */
export const DEPLOYMENTS = "deployments";

const MAX_MODEL_CHARS = 200;
const MODEL_PATTERN = /^[\x21-\x7e]+$/;

export function modelRef(entry: string, model: string): ModelRef {
  return { entry, model, key: `${entry}:${model}` };
}

/**
 * Reads `provider:model`, `provider/model` (when the prefix is a known provider) or a bare model name, which
 * takes `defaultEntry`. `meta-llama/llama-3:free` with no such provider stays a bare model name.
 * @throws InputError when the text is empty, too long or has characters no model name has.
 */
export function parseModel(text: string, knownEntries: readonly string[], defaultEntry = "openai"): ModelRef {
  if (text.length > MAX_MODEL_CHARS || !MODEL_PATTERN.test(text)) {
    throw new InputError(
      `"${text.slice(0, 40)}" is not a model name`,
      "write it as provider:model, for example openai:gpt-4o-mini",
    );
  }
  for (const entry of knownEntries) {
    for (const separator of [":", "/"]) {
      const model = text.slice(entry.length + 1);
      if (text.startsWith(entry + separator) && model) return modelRef(entry, model);
    }
  }
  const unknown = /^([a-z][a-z0-9-]*):./.exec(text)?.[1];
  if (unknown) {
    throw new InputError(
      `unknown provider "${unknown}" in model "${text}"`,
      hintOf(
        didYouMean(unknown, knownEntries),
        `known providers: ${knownEntries.join(", ")}; add your own with GLUELLM_PROVIDERS`,
      ),
      "unknown_provider",
    );
  }
  return modelRef(defaultEntry, text);
}
