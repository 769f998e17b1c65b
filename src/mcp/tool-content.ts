import type { CallToolResult } from "@modelcontextprotocol/client";
import { type ToolPart, toolError, toolFile, toolImage } from "../shared/tool-result.ts";

type Content = CallToolResult["content"][number];

/** Returns what a server answered to a call as a tool's result: texts, images, files; an error where it says that it is one. */
export function toToolResult({ content = [], structuredContent, isError }: CallToolResult): unknown {
  const parts = content.map(toPart);
  if (isError)
    return toolError(parts.filter((part) => typeof part === "string").join("\n") || "the tool failed");
  if (parts.length > 0) return parts.length === 1 ? parts[0] : partsOrText(parts);
  return structuredContent ?? "";
}

function partsOrText(parts: readonly (string | ToolPart)[]): unknown {
  return parts.every((part) => typeof part === "string") ? parts.join("\n") : parts;
}

function toPart(content: Content): string | ToolPart {
  try {
    return readPart(content);
  } catch {
    return `[a part of the type ${content.type} that cannot be read]`;
  }
}

function readPart(content: Content): string | ToolPart {
  switch (content.type) {
    case "text":
      return content.text;
    case "image":
      return toolImage(content.data, content.mimeType);
    case "audio":
      return toolFile(content.data, content.mimeType);
    case "resource_link":
      return `[resource ${content.uri}: ${[content.title ?? content.name, content.description].filter(Boolean).join(", ")}]`;
    case "resource": {
      const { resource } = content;
      if ("text" in resource) return `[resource ${resource.uri}]\n${resource.text}`;
      const { mimeType = "application/octet-stream", uri, blob } = resource;
      if (mimeType.startsWith("image/")) return toolImage(blob, mimeType);
      return toolFile(blob, mimeType, uri.slice(uri.lastIndexOf("/") + 1));
    }
    default:
      return `[a part of the type ${(content as { type: string }).type}]`;
  }
}
