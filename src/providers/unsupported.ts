import { InvalidRequestError } from "../shared/errors.ts";

/** Returns the refusal of a parameter that the dialect has no word for; leaving it out would change the answer. */
export function cannotHonour(parameter: string, hint?: string): InvalidRequestError {
  return new InvalidRequestError({
    code: "unsupported_parameter",
    message: `Anthropic's Messages cannot honour ${parameter}`,
    hint: hint ?? `leave out ${parameter}, or use a provider of the OpenAI dialect`,
  });
}
