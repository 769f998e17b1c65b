import type { BatchPlan } from "./plan.ts";

/**
 * Returns a page of a list whose newest member is first, and its cursors.
 * @param asked the last id of the page before, or for Anthropic's `before_id` the first one of the page behind
 */
export function pageOf<T extends { id: string }>(
  all: readonly T[],
  asked: { after: string | null; before?: string | null; limit: string | null },
  { repeatsInLists }: BatchPlan,
  view: (one: T) => object,
): { data: object[]; has_more: boolean; first_id: string | null; last_id: string | null } {
  const limit = Math.min(100, Number(asked.limit ?? 20) || 20);
  const before = all.findIndex(({ id }) => id === asked.before);
  const after = all.findIndex(({ id }) => id === asked.after);
  const start = before > 0 ? Math.max(0, before - limit) : after + 1;
  const from = repeatsInLists ? Math.max(0, start - 1) : start;
  const page = all.slice(from, before > 0 ? before : start + limit);
  return {
    data: page.map(view),
    has_more: before > 0 ? start > 0 : start + limit < all.length,
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null,
  };
}
