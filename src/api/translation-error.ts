import type { RowFault } from "../batch/row-fault.ts";
import { ApiError } from "./api-error.ts";

/** Returns the error of a request that cannot be translated, naming its parameter; `root` is where the request stood. */
export function translationError(
  { message, code }: RowFault,
  root: string,
  { param, hint }: { param: string; hint: string },
): ApiError {
  const prefix = `${root}.`;
  const text = message.startsWith(prefix) ? message.slice(prefix.length) : message;
  const named = text === message ? undefined : /^[\w.]{1,200}/.exec(text)?.[0];
  return new ApiError({
    status: 400,
    code: code === "cannot_translate" ? "unsupported_parameter" : code,
    param: named?.replace(/\.(\d+)(?=\.|$)/g, "[$1]") ?? param,
    message: text.replace("a chat request", "the API of this model's provider"),
    hint,
  });
}
