import { isPriced } from "../shared/cost.ts";
import { ConfigurationError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { Settings } from "../shared/settings.ts";

/** The keys of models whose calls nobody can price. */
export function unpricedModels({ prices }: Pick<Settings, "prices">, models: readonly ModelRef[]): string[] {
  return models.filter((model) => !isPriced(prices, model)).map(({ key }) => key);
}

/** @throws ConfigurationError (`unpriced_model`) when there are such models: a cost limit could not hold */
export function requirePrices(
  settings: Pick<Settings, "prices">,
  models: readonly ModelRef[],
  limit: string,
) {
  if (unpricedModels(settings, models).length > 0) throw unpricedError(settings, models, limit);
}

/** Returns the error for a limit on what models may cost that are not all priced. */
export function unpricedError(
  settings: Pick<Settings, "prices">,
  models: readonly ModelRef[],
  limit: string,
): ConfigurationError {
  const unpriced = unpricedModels(settings, models);
  const example = `{"${unpriced[0]}": {"inputPerMillion": 0.15, "outputPerMillion": 0.6}}`;
  return new ConfigurationError(
    `no price is known for ${unpriced.join(", ")}, so ${limit} cannot hold`,
    `give its price in USD, for example GLUELLM_PRICES='${example}'`,
    "unpriced_model",
  );
}
