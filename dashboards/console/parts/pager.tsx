import type { Live } from "../live.ts";
import { place, setQuery } from "../router.ts";
import type { Page } from "../types.ts";
import { Loaded, Panel } from "./basic.tsx";
import { Table, type TableProps } from "./table.tsx";

/** A page of a long list, with what leads to the next one. */
export function PagedTable<Row>({
  live,
  ...table
}: { live: Live<Page<Row>> } & Omit<TableProps<Row>, "rows">) {
  return (
    <Panel>
      <Loaded live={live}>
        {({ data, cursor }) => (
          <>
            <Table {...table} rows={data} />
            <Pager cursor={cursor} />
          </>
        )}
      </Loaded>
    </Panel>
  );
}

/** Leads to the next page of a list, and back to its beginning. @param cursor of the next page */
export function Pager({ cursor }: { cursor: string | number | null | undefined }) {
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
        <button type="button" onClick={() => setQuery({ cursor: String(cursor) })}>
          Older
        </button>
      )}
    </div>
  );
}
