import type { ToolExecution } from "../shared/records.ts";
import { partsOfResult, type ToolPart } from "../shared/tool-result.ts";

/** What a call brought: the text for the model and what stands beside it, or what went wrong. */
export type ToolOutcome =
  | (Required<Pick<ToolExecution, "result">> & Pick<ToolExecution, "parts">)
  | { error: { code: string; message: string } };

/** Control characters but tabs and line breaks: they have no place in a prompt. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

/** The longest message of a failure, in bytes. */
const MAX_ERROR_BYTES = 4096;

export function failure(code: string, message: string): ToolOutcome {
  return { error: { code, message: boundedText(message, MAX_ERROR_BYTES) } };
}

/**
 * Returns what a tool returned as the model reads it: texts together, images and files beside them as parts of a message.
 * @param maxBytes of the text
 * @param maxFileBytes of images and files together, as base64; one that is too much is told of in the text
 * @throws TypeError for what JSON cannot express
 */
export function toOutcome(value: unknown, maxBytes: number, maxFileBytes: number): ToolOutcome {
  const given = partsOfResult(value);
  if (!given) return { result: boundedText(value, maxBytes) };
  const error = given.find((part) => part.type === "error");
  if (error) return failure(error.code, error.message);
  const texts: string[] = [];
  const parts: Required<ToolExecution>["parts"] = [];
  let room = maxFileBytes;
  for (const part of given) {
    if (part.type === "error") continue;
    if (part.type === "text") {
      texts.push(part.text);
      continue;
    }
    const bytes = part.base64.length;
    if (bytes > room) {
      texts.push(`[${part.type} left out: ${bytes} bytes as base64, and there is room for ${room}]`);
      continue;
    }
    room -= bytes;
    parts.push(toMessagePart(part));
  }
  return { result: boundedText(texts.join("\n"), maxBytes), ...(parts.length > 0 && { parts }) };
}

function toMessagePart(part: Extract<ToolPart, { base64: string }>) {
  const url = `data:${part.mimeType};base64,${part.base64}`;
  if (part.type === "image") return { type: "image_url", image_url: { url } };
  const { filename } = part;
  return { type: "file", file: { file_data: url, ...(filename !== undefined && { filename }) } };
}

/** Returns a value as text, a JSON text when it is none, without control characters. @throws TypeError as `JSON.stringify` */
export function boundedText(value: unknown, maxBytes: number): string {
  const text = (typeof value === "string" ? value : (JSON.stringify(value) ?? ""))
    .replace(CONTROL, "")
    .toWellFormed();
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  // A character cut in two becomes a replacement character.
  const head = bytes
    .subarray(0, maxBytes)
    .toString()
    .replace(/\ufffd+$/, "");
  return `${head}\n[cut off: ${bytes.length - maxBytes} of ${bytes.length} bytes left out]`;
}
