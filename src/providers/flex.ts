import type { ChatCompletion, ChatRequest } from "../shared/chat.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { providerOptionsFor, type WireOptions } from "../shared/wire-options.ts";
import { asksForEmbeddings } from "./openai-embeddings.ts";

/*
 * OpenAI's tier flex: the same calls at half the price, slower, and refused (429, not charged) while there is no room.
 * Source: https://platform.openai.com/docs/guides/flex-processing
 */

/** Built-in entries whose servers have it. */
const WITH_FLEX = new Set(["openai", "simulator"]);

/** The word for it, in requests and in answers. */
export const FLEX = "flex";

/** Returns whether an entry's server has the tier: as its settings say, else as is known of it. */
export function hasFlex({ name, dialect, flex }: ProviderEntry): boolean {
  return dialect === "openai" && (flex ?? WITH_FLEX.has(name));
}

/** Returns whether a call may be asked for in the tier: one that names a tier itself keeps to that. */
export function takesFlex(
  entry: ProviderEntry,
  request: ChatRequest,
  wire: WireOptions | undefined,
): boolean {
  if (!hasFlex(entry) || asksForEmbeddings(request)) return false;
  const own = [request, request.responses, providerOptionsFor(entry, wire)];
  return own.every((fields) => fields === undefined || !("service_tier" in fields));
}

/** Returns whether an answer was made in the tier, at its price, whoever asked for that. */
export function isFlexAnswer(entry: ProviderEntry, body: ChatCompletion): boolean {
  return hasFlex(entry) && "service_tier" in body && body.service_tier === FLEX;
}
