import type {
  Base64ImageSource,
  DocumentBlockParam,
  ImageBlockParam,
  TextBlockParam,
} from "@anthropic-ai/sdk/resources/messages/messages";
import { z } from "zod";
import type { Message } from "../shared/chat.ts";
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

/** Returns the parts of a message in Anthropic's words; empty texts, which it refuses, fall away. */
export function toParts({ content }: Message, i: number): Part[] {
  if (!content) return [];
  const parts =
    typeof content === "string"
      ? [textBlock(content)]
      : content.map((part, j) => toPart(part, `messages[${i}].content[${j}]`));
  return parts.filter((part) => part.type !== "text" || part.text !== "");
}

function toPart(part: { type: string; text?: string; cache_control?: unknown }, where: string): Part {
  const block = toBlock(part, where);
  // A mark of Anthropic's own, which stands on parts of ours as it does on its blocks.
  return part.cache_control ? ({ ...block, cache_control: part.cache_control } as Part) : block;
}

function toBlock(part: { type: string; text?: string }, where: string): Part {
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
