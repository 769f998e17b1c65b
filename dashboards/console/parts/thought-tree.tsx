import { Badge } from "./basic.tsx";

interface Thought {
  id: number;
  parent: number | null;
  score: number | null;
  text?: string;
  isSolution?: boolean;
}

/** Returns the thoughts in the output of a tree of thoughts; undefined for another one. */
export function thoughtsOf(output: unknown): { thoughts: Thought[]; best: ReadonlySet<number> } | undefined {
  const { metadata } = Object(output) as { metadata?: { thoughts?: unknown; bestLine?: unknown } };
  if (!Array.isArray(metadata?.thoughts)) return undefined;
  const best = Array.isArray(metadata.bestLine) ? (metadata.bestLine as number[]) : [];
  return { thoughts: metadata.thoughts as Thought[], best: new Set(best) };
}

/** Thoughts as the tree that they are, with the score of each; the line that the answer was written from is marked. */
export function ThoughtTree({
  thoughts,
  best,
  of = null,
}: {
  thoughts: readonly Thought[];
  best: ReadonlySet<number>;
  of?: number | null;
}) {
  const children = thoughts.filter(({ parent }) => parent === of);
  if (children.length === 0) return null;
  return (
    <ul class="tree-list">
      {children.map(({ id, score, text, isSolution }) => (
        <li key={id}>
          {score !== null && <Badge state={score.toFixed(2)} tone={best.has(id) ? "ok" : "off"} />}{" "}
          {best.has(id) && <strong>best line </strong>}
          {isSolution && <strong>solution </strong>}
          {text}
          <ThoughtTree {...{ thoughts, best, of: id }} />
        </li>
      ))}
    </ul>
  );
}
