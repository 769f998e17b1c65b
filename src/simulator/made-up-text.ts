import { shareOf } from "./request-hash.ts";
import { textOfTokens } from "./token-count.ts";

const MEDIAN_TOKENS = 50;
const SPREAD = 0.45;
const FILLER = "This sentence was made up by the provider simulator and answers nothing. ";

/** Returns a text that starts with `[simulated] `; its length is log-normal around 50 tokens, between 20 and 120. */
export function madeUpText(lastUserText: string, contentHash: string, tokens = lengthInTokens(contentHash)) {
  const opening = `[simulated] Answer ${contentHash.slice(0, 8)} to a message of ${wordsIn(lastUserText)} words. `;
  const missing = Math.max(0, tokens * 4 - opening.length);
  return { text: textOfTokens(opening + FILLER.repeat(Math.ceil(missing / FILLER.length)), tokens), tokens };
}

/** Returns a log-normal length by the Box–Muller transform, from bits of the request's hash. */
function lengthInTokens(contentHash: string): number {
  const radius = Math.sqrt(-2 * Math.log(1 - shareOf(contentHash, 8)));
  const normal = radius * Math.cos(2 * Math.PI * shareOf(contentHash, 20));
  return Math.round(Math.min(120, Math.max(20, MEDIAN_TOKENS * Math.exp(SPREAD * normal))));
}

function wordsIn(text: string): number {
  return text.match(/\S+/g)?.length ?? 0;
}
