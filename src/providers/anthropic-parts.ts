import type {
  Base64ImageSource,
  CacheControlEphemeral,
  DocumentBlockParam,
  ImageBlockParam,
  TextBlockParam,
} from "@anthropic-ai/sdk/resources/messages/messages";
import { z } from "zod";
import type { Message } from "../shared/chat.ts";
import { isObject } from "../shared/json.ts";
import { isBlank, untoldPart } from "./history.ts";
import { cannotHonour } from "./unsupported.ts";

export type Part = TextBlockParam | ImageBlockParam | DocumentBlockParam;

const DATA_URL = /^data:([a-z]+\/[a-z0-9.+-]+)(?:;[a-z]+=[^;,]*)*;base64,/i;
const IMAGE_TYPES: readonly string[] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const IMAGE_HINT = "give an https URL, or a base64 data URL of a JPEG, PNG, GIF or WebP picture";
const FILE_HINT =
  'give file_data as a base64 data URL of a PDF or a plain text: "data:application/pdf;base64,…"';

const imageSchema = z.object({ image_url: z.object({ url: z.string() }) });
const fileSchema = z.object({
  file: z.object({
    file_data: z.string().optional(),
    file_id: z.string().optional(),
    filename: z.string().optional(),
  }),
});

interface PartsOptions {
  /** The message was answered already, by a model that could take it: what this one cannot is told as a text. */
  isEarlier: boolean;
  /** Of an earlier message: parts that are no texts were refused. */
  textsOnly: boolean;
}

/**
 * Returns the parts of a message in Anthropic's words; blank texts, which it refuses, fall away.
 * @throws InvalidRequestError naming the part that Anthropic cannot take, unless the message is an earlier one
 */
export function toParts({ content }: Message, i: number, { isEarlier, textsOnly }: PartsOptions): Part[] {
  if (!content) return [];
  const parts =
    typeof content === "string"
      ? [textBlock(content)]
      : content.map((part, j) => {
          const cached = cacheControlOf(part);
          if (textsOnly && isEarlier && part.type !== "text") return textBlock(untoldPart(part));
          try {
            return { ...toPart(part, `messages[${i}].content[${j}]`), ...cached };
          } catch (error) {
            if (!isEarlier) throw error;
            return textBlock(untoldPart(part));
          }
        });
  return parts.filter((part) => part.type !== "text" || !isBlank(part.text));
}

/** Returns the mark for prompt caching of a message, part or tool, as the caller gave it. */
export function cacheControlOf(value: object): { cache_control?: CacheControlEphemeral } {
  const { cache_control: mark } = value as { cache_control?: unknown };
  // What is wrong with it the provider says.
  return isObject(mark) ? { cache_control: mark as unknown as CacheControlEphemeral } : {};
}

function toPart(part: { type: string; text?: string }, where: string): Part {
  switch (part.type) {
    case "text":
      return textBlock(part.text ?? "");
    case "image_url":
      return toImage(part, where);
    case "file":
      return toDocument(part, where);
    case "input_audio":
      throw cannotHonour(
        `${where}.input_audio`,
        "Anthropic's models take no sound: send its transcript as text, or use a model that takes audio",
      );
    default:
      throw cannotHonour(where, "Anthropic takes parts of the types text, image_url and file");
  }
}

function toImage(part: object, where: string): ImageBlockParam {
  const url = imageSchema.safeParse(part).data?.image_url.url ?? "";
  const { mediaType, data } = readDataUrl(url);
  if (isImageType(mediaType))
    return { type: "image", source: { type: "base64", media_type: mediaType, data } };
  if (url.startsWith("https://")) return { type: "image", source: { type: "url", url } };
  throw cannotHonour(`${where}.image_url`, IMAGE_HINT);
}

function toDocument(part: object, where: string): DocumentBlockParam {
  const { file_data = "", file_id, filename: title } = fileSchema.safeParse(part).data?.file ?? {};
  if (file_id !== undefined)
    throw cannotHonour(`${where}.file.file_id`, `the id is of another provider's store: ${FILE_HINT}`);
  const { mediaType, data } = readDataUrl(file_data);
  const named = title ? { title } : {};
  if (mediaType === "application/pdf")
    return { type: "document", source: { type: "base64", media_type: mediaType, data }, ...named };
  if (mediaType === "text/plain") {
    const text = Buffer.from(data, "base64").toString();
    return { type: "document", source: { type: "text", media_type: mediaType, data: text }, ...named };
  }
  throw cannotHonour(`${where}.file.file_data`, FILE_HINT);
}

function isImageType(mediaType: string | undefined): mediaType is Base64ImageSource["media_type"] {
  return mediaType !== undefined && IMAGE_TYPES.includes(mediaType);
}

function readDataUrl(url: string): { mediaType: string | undefined; data: string } {
  const head = DATA_URL.exec(url);
  return { mediaType: head?.[1]?.toLowerCase(), data: url.slice(head?.[0].length ?? 0) };
}

function textBlock(text: string): TextBlockParam {
  return { type: "text", text };
}
