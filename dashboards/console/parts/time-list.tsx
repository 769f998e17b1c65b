import { duration } from "../format.ts";
import type { Span } from "../types.ts";
import { KINDS, timeByKind } from "./waterfall.tsx";

/** Where time went, in words, the most first. */
export function TimeList({ spans, end }: { spans: readonly Span[]; end: number }) {
  return (
    <ul class="list" aria-label="Where its time went">
      {timeByKind(spans, end).map(([kind, ms]) => (
        <li key={kind}>
          <span class="what">
            <i class={`swatch k-${kind}`} />
            {KINDS[kind]}
          </span>
          <span>{duration(ms)}</span>
        </li>
      ))}
    </ul>
  );
}
