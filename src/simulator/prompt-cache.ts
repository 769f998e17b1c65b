import { sha256 } from "../shared/digest.ts";

const CHARS_PER_TOKEN = 4;
/** The shortest beginning that is cached, and the step in which longer ones are; as OpenAI documents both. */
const LEAST_TOKENS = 1024;
const STEP_TOKENS = 128;
const MAX_ENTRIES = 100_000;

/** A provider's cache of the beginnings of prompts. */
export class PromptCache {
  /** Digest of a beginning → when it is forgotten, in epoch milliseconds; the oldest first. */
  readonly #until = new Map<string, number>();
  readonly #lifeMs: number;

  /** @param lifeMs how long a beginning is kept that nobody uses, in milliseconds */
  constructor(lifeMs = 5 * 60_000) {
    this.#lifeMs = lifeMs;
  }

  /**
   * Returns how many tokens of a prompt were there, and what keeps its beginnings for the next ones: a provider has them once
   * it begins to answer.
   * @param scope account and model
   * @param body the request as it was sent
   */
  read(scope: string, body: unknown): { cachedTokens: number; keep: () => void } {
    const { tools, system, instructions, messages, input } = body as Record<string, unknown>;
    const text = JSON.stringify([tools, system ?? instructions, messages ?? input]);
    const now = Date.now();
    const digests: string[] = [];
    let cachedTokens = 0;
    let digest = scope;
    const step = STEP_TOKENS * CHARS_PER_TOKEN;
    for (let end = step; end <= text.length; end += step) {
      digest = sha256(digest + text.slice(end - step, end));
      const tokens = end / CHARS_PER_TOKEN;
      if (tokens < LEAST_TOKENS) continue;
      if ((this.#until.get(digest) ?? 0) > now) {
        cachedTokens = tokens;
        this.#set(digest, now);
      }
      digests.push(digest);
    }
    return {
      cachedTokens,
      keep: () => {
        for (const one of digests) this.#set(one, Date.now());
      },
    };
  }

  #set(digest: string, now: number): void {
    this.#until.delete(digest);
    this.#until.set(digest, now + this.#lifeMs);
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= MAX_ENTRIES) break;
      this.#until.delete(oldest);
    }
  }
}
