import { InvalidRequestError } from "../shared/errors.ts";

/** Returns the refusal of a parameter that the dialect has no word for; leaving it out would change the answer. */
export function cannotHonour(
  parameter: string,
  hint = `leave out ${parameter}, say it in Anthropic's words in providerOptions, or use a provider of the OpenAI dialect`,
  who = "Anthropic's Messages",
): InvalidRequestError {
  return new InvalidRequestError({
    code: "unsupported_parameter",
    message: `${who} cannot honour ${parameter}`,
    hint,
    context: { parameter },
  });
}
