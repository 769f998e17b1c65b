import type { ChatRequest } from "../shared/chat.ts";
import { sha256 } from "../shared/digest.ts";

/** Providers cache beginnings from about 1,024 tokens on; a longer one that two rows share is worth more. */
const ENDS_TOKENS = [1024, 2048, 4096, 8192, 16_384, 32_768];
const BYTES_PER_TOKEN = 4;
const DIGEST_BYTES = 8;
const MOST_BYTES = (ENDS_TOKENS.at(-1) ?? 0) * BYTES_PER_TOKEN;

/** A line of fewer bytes has no beginning that a provider caches. */
export const LEAST_LINE_BYTES = (ENDS_TOKENS[0] ?? 0) * BYTES_PER_TOKEN;

/**
 * Returns digests of a prompt's first 1,024, 2,048, 4,096 … tokens, as far as it is that long: 8 bytes each, one after the other.
 * Rows with the same digest begin alike up to there. Undefined for a prompt that is too short for a provider's cache.
 */
export function beginningsOf(request: ChatRequest): Buffer | undefined {
  const bytes = firstBytes(request);
  const digests: Buffer[] = [];
  let digest = "";
  let from = 0;
  for (const tokens of ENDS_TOKENS) {
    const end = tokens * BYTES_PER_TOKEN;
    if (bytes.length < end) break;
    digest = sha256(digest + sha256(bytes.subarray(from, end)));
    digests.push(Buffer.from(digest.slice(0, 2 * DIGEST_BYTES), "hex"));
    from = end;
  }
  return digests.length === 0 ? undefined : Buffer.concat(digests);
}

/** Returns the digests of `beginningsOf` as keys, that of the shortest beginning first. */
export function beginningKeys(beginnings: Uint8Array): string[] {
  const text = Buffer.from(beginnings.buffer, beginnings.byteOffset, beginnings.length).toString("latin1");
  return Array.from({ length: text.length / DIGEST_BYTES }, (_, at) =>
    text.slice(at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES),
  );
}

type Begun = { beginnings: Uint8Array | null };

/** Orders rows so that those with equal beginnings lie together; those without one come first. */
export function compareBeginnings({ beginnings: one }: Begun, { beginnings: other }: Begun): number {
  return Buffer.compare(one ?? Buffer.alloc(0), other ?? Buffer.alloc(0));
}

/** What the provider reads first, in the order in which providers do: tools, the form of the answer, messages. */
function firstBytes(request: ChatRequest): Buffer {
  const { messages, tools, response_format: format, responses, anthropic, embedding } = request;
  if (embedding) return Buffer.alloc(0);
  const own = responses ?? anthropic;
  const parts = own
    ? [own.tools, own.text, own.system ?? own.instructions, own.messages ?? own.input]
    : [tools, format, ...messages.map(({ role, content, ...more }) => [role, content, more])];
  let text = "";
  for (const part of parts) {
    text += JSON.stringify(part) ?? "";
    if (text.length >= MOST_BYTES) break;
  }
  return Buffer.from(text.slice(0, MOST_BYTES)).subarray(0, MOST_BYTES);
}
