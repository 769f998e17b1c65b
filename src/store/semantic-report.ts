import { VETOES, type Veto } from "../shared/semantic-veto.ts";
import type { Store } from "./store.ts";

/*
 * What the semantic cache has done, or in shadow mode would have done: sums in the hash `:semantic-report`, and in the list
 * `:semantic-report:examples` the latest pairs of questions whose answers differed, as JSON. Any worker adds to it.
 */

const KIND = "semantic cache";
const TTL_SECONDS = 30 * 86_400;
const MAX_EXAMPLES = 20;
const MAX_EXAMPLE_CHARS = 300;

/** The parts of the similarity by which agreement is told. */
const BANDS = [0.99, 0.98, 0.97, 0.95, 0.9, 0];
type Agreement = "agreed" | "differed";

/** A sum that grows; USD are among them. */
export type SemanticCount =
  | "asked"
  | "failed"
  | "near"
  | "served"
  | "savedUsd"
  | "embeddingUsd"
  | "judgeUsd"
  | "unpriced"
  | Agreement
  | `veto:${Veto}`
  | `${Agreement}:${number}`;

/** Two questions whose answers differed. */
export interface SemanticExample {
  asked: string;
  earlier: string;
  similarity: number;
}

/** Adds to the sums. */
export async function bookSemantic(
  { redis, keys, sealing }: Store,
  counts: { readonly [Name in SemanticCount]?: number },
  example?: SemanticExample,
): Promise<void> {
  const multi = redis.multi();
  multi.hsetnx(keys.semanticReport, "since", Date.now());
  for (const [name, by] of Object.entries(counts)) if (by) multi.hincrbyfloat(keys.semanticReport, name, by);
  multi.expire(keys.semanticReport, TTL_SECONDS);
  if (example) {
    const { asked, earlier, similarity } = example;
    const cut = { asked: cutText(asked), earlier: cutText(earlier), similarity };
    multi
      .lpush(keys.semanticExamples, await sealing.seal(KIND, "example", JSON.stringify(cut)))
      .ltrim(keys.semanticExamples, 0, MAX_EXAMPLES - 1);
    multi.expire(keys.semanticExamples, TTL_SECONDS);
  }
  await multi.exec();
}

/** Returns the band of a similarity: its lower end. */
export function bandOf(similarity: number): number {
  return BANDS.find((least) => similarity >= least) ?? 0;
}

/** What the semantic cache has done since it was asked first, or since 30 days without a question. */
export interface SemanticReport {
  since: Date | undefined;
  /** Questions that had no equal answer in the cache and were compared. */
  asked: number;
  /** Those whose vector could not be had. */
  failed: number;
  /** Those with a neighbour above the threshold that no rule spoke against: in shadow mode it would have been answered with. */
  near: number;
  /** Those that were answered so. */
  served: number;
  /** Neighbours above the threshold that a rule spoke against. */
  vetoes: Record<Veto, number>;
  /** In shadow mode: whether the near answer and the real one said the same, by the similarity's lower end. */
  agreement: {
    agreed: number;
    differed: number;
    bands: { from: number; agreed: number; differed: number }[];
  };
  /** USD: what the calls would have cost whose answers were given again, less what was paid for vectors and judges. */
  booking: { savedUsd: number; embeddingUsd: number; judgeUsd: number; netUsd: number; unpriced: number };
  /** The latest pairs whose answers differed. */
  examples: SemanticExample[];
}

/** Reads the report. */
export async function readSemanticReport({ redis, keys, sealing }: Store): Promise<SemanticReport> {
  const [sums, examples] = await Promise.all([
    redis.hgetall(keys.semanticReport),
    redis.lrange(keys.semanticExamples, 0, -1),
  ]);
  const of = (name: SemanticCount) => Number(sums[name] ?? 0);
  const opened = await Promise.all(examples.map((text) => sealing.open(KIND, "example", text)));
  const [savedUsd, embeddingUsd, judgeUsd] = [of("savedUsd"), of("embeddingUsd"), of("judgeUsd")];
  return {
    since: sums.since === undefined ? undefined : new Date(Number(sums.since)),
    asked: of("asked"),
    failed: of("failed"),
    near: of("near"),
    served: of("served"),
    vetoes: Object.fromEntries(VETOES.map((veto) => [veto, of(`veto:${veto}`)])) as Record<Veto, number>,
    agreement: {
      agreed: of("agreed"),
      differed: of("differed"),
      bands: BANDS.map((from) => ({ from, agreed: of(`agreed:${from}`), differed: of(`differed:${from}`) })),
    },
    booking: {
      savedUsd,
      embeddingUsd,
      judgeUsd,
      netUsd: savedUsd - embeddingUsd - judgeUsd,
      unpriced: of("unpriced"),
    },
    examples: opened.map((text) => JSON.parse(text) as SemanticExample),
  };
}

function cutText(text: string): string {
  return text.slice(0, MAX_EXAMPLE_CHARS).toWellFormed();
}
