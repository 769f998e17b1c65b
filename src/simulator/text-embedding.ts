import { sha256 } from "../shared/digest.ts";

/** The bits of one SHA-256. */
const SIGNS_PER_HASH = 256;

/**
 * Returns a unit vector made of the text's words alone, so that texts which share words are near each other and others
 * about orthogonal: the sum of one vector of random signs for each word, as in random projection (D. Achlioptas,
 * "Database-friendly random projections", 2003). `#sim` lines are left out.
 */
export function textEmbedding(text: string, dimensions: number): Float32Array {
  const sum = new Float32Array(dimensions);
  for (const feature of featuresOf(text)) {
    for (const [at, sign] of signsOf(feature, dimensions).entries()) sum[at] = (sum[at] ?? 0) + sign;
  }
  const length = Math.hypot(...sum);
  // Signs can cancel out in few dimensions.
  if (length === 0) return sum.fill(1 / Math.sqrt(dimensions));
  return sum.map((value) => value / length);
}

/** Returns each word and, so that its other forms are near it, its first four letters. */
function featuresOf(text: string): string[] {
  const spoken = text.replaceAll(/^#sim \{.*$/gm, "");
  const words = spoken.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [spoken];
  return words.flatMap((word) => [word, `${word.slice(0, 4)}…`]);
}

function signsOf(feature: string, dimensions: number): number[] {
  const blocks = Array.from({ length: Math.ceil(dimensions / SIGNS_PER_HASH) }, (_, block) =>
    Buffer.from(sha256(`${block}:${feature}`), "hex"),
  );
  const bits = Buffer.concat(blocks);
  return Array.from({ length: dimensions }, (_, at) => ((bits[at >> 3] ?? 0) & (1 << (at & 7)) ? 1 : -1));
}
