import { InvalidRequestError } from "../shared/errors.ts";

/** A parameter that a dialect has no word for: said before the call, since to leave it out would change the answer. */
export function cannotHonour(parameter: string, hint?: string): InvalidRequestError {
  return new InvalidRequestError({
    code: "unsupported_parameter",
    message: `Anthropic's Messages cannot honour ${parameter}`,
    hint: hint ?? `leave out ${parameter}, or use a provider of the OpenAI dialect`,
  });
}
