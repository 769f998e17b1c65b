import { withQuery } from "../api.ts";
import { clock, duration, iso, short, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge } from "../parts/basic.tsx";
import { ChoiceFilter, filterOf, TextFilter } from "../parts/filters.tsx";
import { PagedTable } from "../parts/pager.tsx";
import type { Column } from "../parts/table.tsx";
import { seesTenants, session } from "../session.ts";
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

function isOwn(tenant: string): boolean {
  return tenant === session.value?.tenant;
}

const TENANT: Column<ListedRun> = { label: "Tenant", cell: ({ tenant }) => tenant };

/** What can be chosen, with what is chosen already. */
function withChosen(known: readonly string[], chosen: string | undefined): string[] {
  return [...new Set([...known, ...(chosen === undefined ? [] : [chosen])])].sort();
}

/** Runs of workflows, the newest first. */
export function RunsPage() {
  const hours = Number(filterOf("hours") ?? 0);
  // Rounded, so that the question stays the same for a minute.
  const from = hours > 0 ? Math.floor(Date.now() / 60_000) * 60_000 - hours * 3_600_000 : undefined;
  const filter = Object.fromEntries(
    ["text", "state", "workflow", "version", "tag", "tenant", "minUsd", "minMs", "cursor"].map((name) => [
      name,
      filterOf(name),
    ]),
  );
  const path = withQuery("/api/run-search", { ...filter, from, limit: LIMIT });
  const runs = useLive<Page<ListedRun>>(path, filter.cursor ? 0 : 2000);
  const workflows = useLive<{ data: { workflow: string; version: number }[] }>("/api/workflows", 0);
  const known = workflows.data?.data ?? [];
  const names = withChosen(
    known.map(({ workflow }) => workflow),
    filter.workflow,
  );
  // Workers may have no version any more of which there are runs: its number can be in the address.
  const versions = withChosen(
    known
      .filter(({ workflow }) => filter.workflow === undefined || filter.workflow === workflow)
      .map(({ version }) => String(version)),
    filter.version,
  );
  const columns = filter.tenant ? [...COLUMNS, TENANT] : COLUMNS;
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
        <ChoiceFilter
          name="version"
          label="Version"
          choices={[["", "any"], ...versions.map((version) => [version, `v${version}`] as const)]}
        />
        <TextFilter name="tag" label="Tag" placeholder="all of it" />
        {seesTenants() && <TextFilter name="tenant" label="Tenant" placeholder="its name, or *" />}
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
      <PagedTable
        live={runs}
        label="Runs"
        columns={columns}
        keyOf={({ id }) => id}
        // What another tenant's run holds is for keys of that tenant.
        hrefOf={({ id, tenant }) => (isOwn(tenant) ? `/runs/${encodeURIComponent(id)}` : undefined)}
        isFailed={({ state }) => state === "failed"}
        empty={
          <>
            No runs fit. <a href="/playground">Start one in the playground</a>, or with{" "}
            <code>gluellm workflow run</code>.
          </>
        }
      />
    </>
  );
}
