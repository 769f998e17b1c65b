import { deploymentsRef, drawnOrder } from "../shared/deployments.ts";
import { InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { chooseModel, type ModelChoice } from "./model-choice.ts";

const MAX_MODELS = 10;

/** A model, or several in the order in which they are tried. */
export type ModelNames = string | readonly string[];

/** The models of a request, in the order in which they are tried. */
export interface ModelChain {
  model: ModelRef;
  /** The further models; absent when there is only one. */
  fallbacks?: ModelRef[];
  /** So many of them, the first included, are deployments of one name. */
  alike?: number;
  /** That name. */
  alias?: string;
  /** The models as they were asked for, where a name of several deployments is among them. */
  named?: ModelRef[];
}

interface ChainChoice extends Omit<ModelChoice, "defaultModel"> {
  defaultModels: ModelNames;
  /** Returns the text that deployments are drawn by. */
  drawnBy?: () => string;
}

/**
 * Returns the models that a request may go to; a name of deployments stands for all of them. Those that name no provider have
 * that of the first default.
 * @throws as `chooseModel`; InputError for no model, more than 10, or one that comes twice (`duplicate_model`)
 */
export function chooseModels(
  names: ModelNames | undefined,
  { defaultModels, drawnBy = () => "", ...choice }: ChainChoice,
): ModelChain {
  const { deployments } = choice.settings;
  const expand = (name: string) =>
    Object.hasOwn(deployments, name) ? drawnOrder(deployments[name] ?? [], drawnBy()) : [name];
  const given = [names ?? defaultModels].flat();
  const all = given.map(expand);
  const [first = [], ...others] = all;
  const texts = [...first, ...others.flat()];
  const [defaultModel] = [defaultModels].flat().flatMap(expand);
  if (!defaultModel || texts.length < 1 || texts.length > MAX_MODELS) {
    throw new InputError(`a call takes 1 to ${MAX_MODELS} models, not ${texts.length}`);
  }
  const toRef = (text: string) => chooseModel(text, { ...choice, defaultModel });
  const models = texts.map(toRef);
  const twice = models.find(({ key }, i) => models.findIndex((other) => other.key === key) !== i);
  if (twice)
    throw new InputError(`the model ${twice.key} comes twice`, "name each model once", "duplicate_model");
  const [model, ...fallbacks] = models as [ModelRef, ...ModelRef[]];
  if (fallbacks.length === 0) return { model };
  const isDrawn = all.some(({ length }) => length > 1);
  return {
    model,
    fallbacks,
    ...(first.length > 1 && { alike: first.length, alias: given[0] ?? "" }),
    ...(isDrawn && {
      named: given.flatMap((name, i) => (all[i]?.length === 1 ? all[i].map(toRef) : deploymentsRef(name))),
    }),
  };
}
