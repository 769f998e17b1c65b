import { InputError } from "./errors.ts";

/** The mark of parts, known across copies of this package: a worker and a module may have one each. */
const PART = Symbol.for("gluellm.tool-part");

/** A part of a tool's result: a text, an image or a file; `toolImage` and `toolFile` make one. */
export type ToolPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly mimeType: string; readonly base64: string }
  | {
      readonly type: "file";
      readonly mimeType: string;
      readonly base64: string;
      readonly filename: string | undefined;
    }
  /** The call failed, in words for the model. */
  | { readonly type: "error"; readonly code: string; readonly message: string };

/**
 * Returns an image that a tool brings, alone or in a list with texts: `return ["As asked:", toolImage(png, "image/png")]`.
 * @param data the bytes, or their base64
 * @param mimeType PNG, JPEG, GIF and WebP are taken by all models that see
 * @throws InputError when the type is not one of an image
 */
export function toolImage(data: Uint8Array | string, mimeType: string): ToolPart {
  if (!/^image\/[a-z0-9.+-]+$/i.test(mimeType))
    throw new InputError(`"${mimeType}" is not the type of an image`, 'give one such as "image/png"');
  return marked({ type: "image", mimeType, base64: toBase64(data) });
}

/**
 * Returns a file that a tool brings, alone or in a list with texts.
 * @param data the bytes, or their base64
 * @param mimeType all models that read files take PDF
 * @param filename the name that the model sees; default none
 * @throws InputError when the type is none
 */
export function toolFile(data: Uint8Array | string, mimeType: string, filename?: string): ToolPart {
  if (!/^[a-z]+\/[a-z0-9.+-]+$/i.test(mimeType))
    throw new InputError(`"${mimeType}" is not the type of a file`, 'give one such as "application/pdf"');
  return marked({ type: "file", mimeType, base64: toBase64(data), filename });
}

/**
 * Returns a failure that a tool tells the model of; what a tool throws is one too, with the code `tool_failed`.
 * @param code what the history calls it; default `tool_failed`
 */
export function toolError(message: string, code = "tool_failed"): ToolPart {
  return marked({ type: "error", code, message });
}

/** Returns the parts of what a tool returned; undefined when it is a text or a value for JSON. */
export function partsOfResult(value: unknown): ToolPart[] | undefined {
  if (isPart(value)) return [value];
  if (!Array.isArray(value) || !value.some(isPart)) return undefined;
  return value.map((item) => (isPart(item) ? item : { type: "text", text: textOf(item) }));
}

function textOf(item: unknown): string {
  return typeof item === "string" ? item : (JSON.stringify(item) ?? "");
}

function marked(part: ToolPart): ToolPart {
  return Object.assign({ [PART]: true }, part);
}

function isPart(value: unknown): value is ToolPart {
  return typeof value === "object" && value !== null && PART in value;
}

function toBase64(data: Uint8Array | string): string {
  return typeof data === "string" ? data : Buffer.from(data).toString("base64");
}
