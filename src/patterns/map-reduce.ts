import { z } from "zod";
import { block } from "./block.ts";
import { chunksOf } from "./chunks.ts";
import { type Ask, agent, definePattern, type OnAgentError, onAgentError, settleGroup } from "./pattern.ts";

/** The most chunks; a run of more steps in a row has not been measured. */
const MAX_CHUNKS = 5000;

const config = z.object({
  mapper: agent.describe("works on each chunk of the input"),
  reducer: agent.optional().describe("makes one result of several; default the mapper"),
  chunkSize: z
    .int()
    .min(1)
    .default(4000)
    .describe("of a chunk, and of what one reduction reads, in characters"),
  chunkOverlap: z
    .int()
    .min(0)
    .default(0)
    .describe("with which a chunk repeats the one before, in characters"),
  maxParallelChunks: z.int().min(1).default(10).describe("asked for at a time"),
  reduceStrategy: z
    .enum(["summarize", "concatenate", "hierarchical"])
    .default("summarize")
    .describe(
      "summarize: one reduction of all results; concatenate: none; hierarchical: of groups that fit chunkSize, level by level",
    ),
  onAgentError: onAgentError.describe(
    "when the mapper fails on a chunk: fail: so does the run; skip: its result is left out. A failed reduction fails the run",
  ),
});
type MapReduceConfig = z.output<typeof config>;

/**
 * The pattern that cuts a long input into chunks that overlap, works on them side by side, and makes one result of
 * theirs. A group of `hierarchical` has two results at least, so that it ends also when they do not fit `chunkSize`. A
 * lone chunk is reduced by a `reducer` only.
 */
export const mapReduce = definePattern({
  name: "map-reduce",
  when: "The input is longer than a model can read at once, or reads well.",
  calls:
    "chunks + reductions (concatenate: 0, summarize: 1, hierarchical: < chunks; of a lone result: 1 with a reducer, 0 without)",
  source:
    "Dean and Ghemawat (2004), MapReduce: Simplified Data Processing on Large Clusters; Wu et al. (2021), Recursively Summarizing Books with Human Feedback",
  config,
  check({ input, chunkSize, chunkOverlap, reduceStrategy, reducer }, refuse) {
    if (chunkOverlap >= chunkSize) return refuse("chunkOverlap", `must be less than chunkSize, ${chunkSize}`);
    const count = chunksOf(input, chunkSize, chunkOverlap).length;
    if (count > MAX_CHUNKS) refuse("chunkSize", `makes ${count} chunks of the input; at most ${MAX_CHUNKS}`);
    if (reducer && reduceStrategy === "concatenate") {
      refuse("reducer", "is not asked when reduceStrategy is concatenate");
    }
  },
  async run(_ctx, { input, ...config }, ask) {
    const { mapper, chunkSize, chunkOverlap, maxParallelChunks, onAgentError } = config;
    const chunks = chunksOf(input, chunkSize, chunkOverlap);
    const mapped = await inLanes(onAgentError, chunks, maxParallelChunks, (chunk, i) =>
      ask(`map ${i + 1}`, mapper, `Part ${i + 1} of ${chunks.length} of a text:\n\n${block("part", chunk)}`),
    );
    const skippedChunks = mapped.flatMap((result, i) => (result === undefined ? [i + 1] : []));
    const results = mapped.filter((result) => result !== undefined);
    const { finalOutput, levels, reductions } = await reduce(ask, config, results);
    const metadata = { chunks: chunks.length, skippedChunks, levels, reductions };
    return { finalOutput, iterations: 1 + levels, metadata };
  },
});

async function reduce(ask: Ask, config: MapReduceConfig, results: readonly string[]) {
  const { mapper, reducer = mapper, reduceStrategy, chunkSize, maxParallelChunks } = config;
  let left = results;
  let [levels, reductions] = [0, 0];
  if (reduceStrategy === "concatenate") return { finalOutput: left.join("\n\n"), levels, reductions };
  const isLoneReduced = config.reducer !== undefined;
  while (left.length > 1 || (isLoneReduced && levels === 0)) {
    levels += 1;
    const groups = reduceStrategy === "summarize" ? [left] : groupsOf(left, chunkSize);
    left = (await inLanes("fail", groups, maxParallelChunks, (group, i) => {
      const [only = ""] = group;
      if (group.length === 1 && groups.length > 1) return Promise.resolve(only);
      reductions += 1;
      return ask(`reduce ${levels}.${i + 1}`, reducer, reducePrompt(group));
    })) as string[];
  }
  return { finalOutput: left[0] ?? "", levels, reductions };
}

/** Returns neighbours together as far as they fit `size` characters; two at least, except for the last group. */
function groupsOf(results: readonly string[], size: number): string[][] {
  const groups: string[][] = [];
  let chars = 0;
  for (const result of results) {
    const group = groups.at(-1);
    chars += result.length;
    if (group && (group.length < 2 || chars <= size)) {
      group.push(result);
    } else {
      groups.push([result]);
      chars = result.length;
    }
  }
  return groups;
}

function reducePrompt(results: readonly string[]): string {
  return [
    "Make one result of these, which were made from parts of one text and stand in its order. The parts overlap: what two of them say of the same place belongs in it once.",
    ...results.map((result) => block("result", result)),
  ].join("\n\n");
}

/** Works on items in their order, `lanes` at a time, and returns the results in that order. */
async function inLanes<Item, T>(
  policy: OnAgentError,
  items: readonly Item[],
  lanes: number,
  work: (item: Item, i: number) => Promise<T>,
): Promise<(T | undefined)[]> {
  const answers: Promise<T>[] = [];
  // The lanes share it: each takes the next one that none has taken.
  const entries = items.entries();
  const lane = async () => {
    for (const [i, item] of entries) {
      const answer = work(item, i);
      answers[i] = answer;
      await (policy === "fail" ? answer : answer.catch(() => {}));
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, items.length) }, lane));
  return settleGroup(policy, answers);
}
