import { withQuery } from "../api.ts";
import { clock, duration, iso, short, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Loaded, Panel } from "../parts/basic.tsx";
import { ChoiceFilter, filterOf, TextFilter } from "../parts/filters.tsx";
import { Pager } from "../parts/pager.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { ListedRun, Page } from "../types.ts";

const LIMIT = 100;
const HOURS: readonly (readonly [string, string])[] = [
  ["", "any time"],
  ["1", "the last hour"],
  ["24", "the last day"],
  ["168", "the last week"],
];

export const COLUMNS: readonly Column<ListedRun>[] = [
  { label: "Run", cell: ({ id }) => <span class="mono">{id}</span> },
  { label: "State", cell: ({ state }) => <Badge state={state} /> },
  { label: "Workflow", cell: ({ workflow, version }) => `${workflow} v${version}` },
  { label: "Started", cell: ({ startedAt }) => <time dateTime={iso(startedAt)}>{clock(startedAt)}</time> },
  {
    label: "Took",
    isNumber: true,
    cell: ({ startedAt, finishedAt }) => duration((finishedAt ?? Date.now()) - startedAt),
  },
  { label: "Tokens", isNumber: true, isWide: true, cell: ({ tokens }) => short(tokens) },
  {
    label: "Cost",
    isNumber: true,
    cell: ({ costUsd, unpriced }) => (unpriced > 0 && costUsd === 0 ? "unknown" : usd(costUsd)),
  },
  { label: "Tags", isWide: true, cell: ({ tags }) => tags.join(", ") },
  { label: "Why", isWide: true, grows: true, cell: ({ error }) => <span class="bad-text">{error}</span> },
];

/** Runs of workflows, the newest first. */
export function RunsPage() {
  const hours = Number(filterOf("hours") ?? 0);
  // Rounded, so that the question stays the same for a minute.
  const from = hours > 0 ? Math.floor(Date.now() / 60_000) * 60_000 - hours * 3_600_000 : undefined;
  const filter = Object.fromEntries(
    ["text", "state", "workflow", "version", "tag", "minUsd", "minMs", "cursor"].map((name) => [
      name,
      filterOf(name),
    ]),
  );
  const path = withQuery("/api/run-search", { ...filter, from, limit: LIMIT });
  const runs = useLive<Page<ListedRun>>(path, filter.cursor ? 0 : 2000);
  const workflows = useLive<{ data: { workflow: string }[] }>("/api/workflows", 0);
  const names = [...new Set(workflows.data?.data.map(({ workflow }) => workflow))].sort();
  return (
    <>
      <div class="head">
        <h1>Runs</h1>
      </div>
      <div class="filters">
        <TextFilter name="text" label="Id, workflow or tag" placeholder="part of it" />
        <ChoiceFilter
          name="state"
          label="State"
          choices={[
            ["", "any"],
            ...["running", "succeeded", "failed", "cancelled"].map((s) => [s, s] as const),
          ]}
        />
        <ChoiceFilter
          name="workflow"
          label="Workflow"
          choices={[["", "any"], ...names.map((name) => [name, name] as const)]}
        />
        <ChoiceFilter name="hours" label="Started in" choices={HOURS} />
        <ChoiceFilter
          name="minUsd"
          label="Cost"
          choices={[
            ["", "any"],
            ["0.01", "≥ $0.01"],
            ["0.1", "≥ $0.10"],
            ["1", "≥ $1"],
          ]}
        />
        <ChoiceFilter
          name="minMs"
          label="Took"
          choices={[
            ["", "any"],
            ["10000", "≥ 10 s"],
            ["60000", "≥ 1 min"],
            ["3600000", "≥ 1 h"],
          ]}
        />
      </div>
      <Panel>
        <Loaded live={runs}>
          {({ data, cursor }) => (
            <>
              <Table
                label="Runs"
                columns={COLUMNS}
                rows={data}
                keyOf={({ id }) => id}
                hrefOf={({ id }) => `/runs/${encodeURIComponent(id)}`}
                isFailed={({ state }) => state === "failed"}
                empty={
                  <>
                    No runs fit. <a href="/playground">Start one in the playground</a>, or with{" "}
                    <code>gluellm workflow run</code>.
                  </>
                }
              />
              <Pager cursor={cursor} />
            </>
          )}
        </Loaded>
      </Panel>
    </>
  );
}
