import type { ChatRequest } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";

/** Where the parts of the known types hold their bytes. */
const PLACES = [
  ["image_url", "url"],
  ["input_audio", "data"],
  ["file", "file_data"],
] as const;

const HINT = 'bytes.toString("base64") makes it; in a data URL "data:image/png;base64," comes before it';

/**
 * Looks at what pictures, sounds and files carry, as far as the provider would refuse it whatever it is: an address
 * passes, and all else has to be base64, as it is or in a data URL.
 * @throws InputError (`invalid_base64`) naming the place.
 */
export function checkMediaParts({ messages }: ChatRequest): void {
  messages.forEach(({ content }, i) => {
    if (!Array.isArray(content)) return;
    content.forEach((part, j) => {
      for (const [name, field] of PLACES) {
        const value = (part[name] as Record<string, unknown> | null | undefined)?.[field];
        if (typeof value === "string") checkBytes(value, `messages.${i}.content.${j}.${name}.${field}`);
      }
    });
  });
}

function checkBytes(value: string, where: string): void {
  if (!/^data:/i.test(value)) {
    if (!/^[a-z][a-z0-9+.-]*:/i.test(value) && !isBase64(value))
      throw invalid(where, "it is neither an address nor base64");
    return;
  }
  const comma = value.indexOf(",");
  if (!value.slice(0, comma).toLowerCase().endsWith(";base64"))
    throw invalid(where, "the data URL is not in base64");
  if (!isBase64(value.slice(comma + 1))) throw invalid(where, "the data URL holds no base64");
}

/** Of the standard alphabet, padded. A search, not a match: that would need a stack as long as the text. */
function isBase64(text: string): boolean {
  const padding = /={0,2}$/.exec(text.slice(-2))?.[0].length ?? 0;
  return text !== "" && text.length % 4 === 0 && !/[^A-Za-z0-9+/]/.test(text.slice(0, text.length - padding));
}

function invalid(where: string, reason: string): InputError {
  return new InputError(`the request is wrong at ${where}: ${reason}`, HINT, "invalid_base64");
}
