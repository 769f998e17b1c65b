import { chooseModels, type ModelChain } from "../calls/model-chain.ts";
import { chooseModel, type ModelChoice } from "../calls/model-choice.ts";
import { aliasOf, deploymentsRef } from "../shared/deployments.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { Settings } from "../shared/settings.ts";
import type { ResolveModel } from "./resolve-model.ts";

/** Returns how a batch finds the model of a row; rows of a name of deployments are rows of one model, `deployments:NAME`. */
export function rowModels(choice: Omit<ModelChoice, "vendor">): ResolveModel {
  const { settings, defaultModel, keyNeeded } = choice;
  const namesOf = (name: string) => settings.deployments[name]?.map(({ model }) => model) ?? [name];
  const [bareOf = defaultModel] = namesOf(defaultModel);
  return (name, vendor) => {
    const given = name ?? defaultModel;
    const [first, ...others] = namesOf(given);
    if (others.length === 0) return chooseModel(first, { ...choice, defaultModel: bareOf, vendor });
    chooseModels(given, { settings, keyNeeded, defaultModels: given });
    return deploymentsRef(given);
  };
}

/** Returns the models that rows of `model` may go to; those of deployments in the order that is drawn by `drawnBy`. */
export function modelsOf(settings: Settings, model: ModelRef, drawnBy = ""): ModelChain {
  const alias = aliasOf(model);
  if (alias === undefined) return { model };
  return chooseModels(alias, {
    settings,
    keyNeeded: false,
    defaultModels: alias,
    drawnBy: () => drawnBy,
  });
}

/** Returns the models that are called for rows of these. */
export function calledModels(settings: Settings, models: readonly ModelRef[]): ModelRef[] {
  const called = models.flatMap((each) => {
    const { model, fallbacks = [] } = modelsOf(settings, each);
    return [model, ...fallbacks];
  });
  return [...new Map(called.map((model) => [model.key, model])).values()];
}
