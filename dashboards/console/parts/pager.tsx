import { place, setQuery } from "../router.ts";

/** Leads to the next page of a list, and back to its beginning. @param cursor of the next page */
export function Pager({ cursor }: { cursor: string | null | undefined }) {
  const isLater = place.value.query.has("cursor");
  if (!cursor && !isLater) return null;
  return (
    <div class="more rowlink">
      {isLater && (
        <button type="button" onClick={() => setQuery({ cursor: undefined })}>
          Newest
        </button>
      )}
      {cursor && (
        <button type="button" onClick={() => setQuery({ cursor })}>
          Older
        </button>
      )}
    </div>
  );
}
