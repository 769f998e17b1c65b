import { toWireOptions } from "../calls/wire-input.ts";
import { InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { Settings } from "../shared/settings.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import { calledModels } from "./row-models.ts";

/** What the rows of a batch say to their providers beside their requests. */
export class RowWire {
  readonly said: WireOptions | undefined;
  readonly #settings: Settings;
  readonly #entries = new Set<string>();

  /** @throws InputError naming what no provider entry or dialect is called, or a field that the request sets */
  constructor(settings: Settings, { providerOptions, headers, query }: WireOptions) {
    this.#settings = settings;
    this.said = toWireOptions({ providerOptions, headers, query }, {}, { settings, models: [] });
  }

  /** Returns the model. @throws InputError when headers or a query would go to a second provider entry */
  check(model: ModelRef): ModelRef {
    if (!this.said?.headers && !this.said?.query) return model;
    for (const { entry } of calledModels(this.#settings, [model])) this.#entries.add(entry);
    if (this.#entries.size > 1) {
      throw new InputError(
        `headers and queries are of one provider, and the rows go to several: ${[...this.#entries].join(", ")}`,
        "give them to the provider entries, in GLUELLM_PROVIDERS, or split the input by provider",
      );
    }
    return model;
  }
}
