import { count, duration, percent } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Loaded, Panel } from "../parts/basic.tsx";
import { filterOf, TextFilter } from "../parts/filters.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { Worker } from "../types.ts";

const MIB = 1024 ** 2;
/** A loop that is later than this keeps calls and locks waiting. */
const LATE_MS = 500;
const CLOCK_OFF_MS = 2000;

/** What of a worker is not well, in a few words. */
export function worriesOf({ isMemoryLow, lagMs, clockAheadMs }: Worker): string[] {
  return [
    ...(isMemoryLow ? ["takes no jobs: its memory is low"] : []),
    ...((lagMs ?? 0) > LATE_MS ? [`its event loop is ${duration(lagMs)} late`] : []),
    ...(Math.abs(clockAheadMs ?? 0) > CLOCK_OFF_MS
      ? [`its clock is ${duration(Math.abs(clockAheadMs ?? 0))} off`]
      : []),
  ];
}

const COLUMNS: readonly Column<Worker>[] = [
  { label: "Worker", cell: ({ host, pid }) => `${host}:${pid}` },
  {
    label: "State",
    cell: (worker) => {
      const worries = worriesOf(worker);
      return <Badge state={worries.length > 0 ? "slow" : "well"} tone={worries.length > 0 ? "warn" : "ok"} />;
    },
  },
  { label: "Calls now", isNumber: true, cell: ({ jobs }) => count(jobs?.active) },
  { label: "Ended", isNumber: true, cell: ({ jobs }) => count(jobs?.ended) },
  {
    label: "Memory",
    isNumber: true,
    cell: ({ rssBytes, memoryShare }) =>
      rssBytes === null
        ? "–"
        : `${Math.round(rssBytes / MIB)} MiB${memoryShare === null ? "" : `, ${percent(memoryShare, 1)}`}`,
  },
  { label: "Loop late", isNumber: true, isWide: true, cell: ({ lagMs }) => duration(lagMs) },
  { label: "Up", isNumber: true, isWide: true, cell: ({ uptimeMs }) => duration(uptimeMs) },
  { label: "Version", isWide: true, cell: ({ version }) => version ?? "–" },
  {
    label: "Has",
    isWide: true,
    grows: true,
    cell: (worker) => [...worriesOf(worker), ...hasOf(worker)].join("; "),
  },
];

function hasOf({ providers, tools, workflows, activities }: Worker): string[] {
  return [
    providers.length > 0 ? `calls ${providers.join(", ")}` : "calls nobody",
    ...(tools.length > 0 ? [`tools ${tools.join(", ")}`] : []),
    ...(workflows.length > 0 ? [`workflows ${workflows.map(({ name }) => name).join(", ")}`] : []),
    ...(activities.length > 0 ? [`activities ${activities.join(", ")}`] : []),
  ];
}

/** The worker processes that are alive. */
export function WorkersPage() {
  const workers = useLive<{ data: Worker[] }>("/api/workers", 3000, { ticks: true });
  const wanted = filterOf("text")?.toLowerCase() ?? "";
  const shown =
    workers.data?.data.filter((worker) => JSON.stringify(worker).toLowerCase().includes(wanted)) ?? [];
  const sum = (of: (worker: Worker) => number) => shown.reduce((total, worker) => total + of(worker), 0);
  return (
    <>
      <div class="head">
        <h1>Workers</h1>
        <div class="side muted">
          {count(shown.length)} alive, {count(sum(({ jobs }) => jobs?.active ?? 0))} calls under way
        </div>
      </div>
      <div class="filters">
        <TextFilter name="text" label="Host, tool, workflow, provider …" placeholder="part of it" />
      </div>
      <Panel>
        <Loaded live={workers}>
          {() => (
            <Table
              label="Workers"
              columns={COLUMNS}
              rows={shown}
              keyOf={({ id }) => id}
              isFailed={(worker) => worriesOf(worker).length > 0}
              empty={
                wanted ? (
                  "None fits."
                ) : (
                  <>
                    No worker is alive: jobs wait. <code>gluellm worker</code> starts one.
                  </>
                )
              }
            />
          )}
        </Loaded>
      </Panel>
    </>
  );
}
