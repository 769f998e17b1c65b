import { withQuery } from "../api.ts";
import { count, counted, duration, percent, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Facts, Fault, Loaded, Meter, Panel, Time } from "../parts/basic.tsx";
import { ChoiceFilter, filterOf } from "../parts/filters.tsx";
import { PagedTable } from "../parts/pager.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { Batch, BatchLane, FailureCause, Page } from "../types.ts";
import { BatchActions, OPEN_STATES } from "./batch-actions.tsx";

const STATES = [
  "in_progress",
  "paused",
  "validating",
  "finalizing",
  "completed",
  "failed",
  "expired",
  "cancelling",
  "cancelled",
];

export function Rows({ batch: { id, rows } }: { batch: Batch }) {
  const done = rows.succeeded + rows.failed;
  return (
    <Meter part={done} whole={rows.total} isProgress label={`rows of ${id}`}>
      {count(done)} of {count(rows.total)}
    </Meter>
  );
}

const COLUMNS: readonly Column<Batch>[] = [
  { label: "Batch", cell: ({ id }) => <span class="mono">{id}</span> },
  { label: "State", cell: ({ state }) => <Badge state={state} /> },
  { label: "Rows", cell: (batch) => <Rows batch={batch} /> },
  { label: "Failed", isNumber: true, cell: ({ rows }) => count(rows.failed) },
  {
    label: "Rows/s",
    isNumber: true,
    isWide: true,
    cell: ({ rowsPerSecond }) => (rowsPerSecond === null ? "–" : rowsPerSecond.toFixed(1)),
  },
  { label: "Ends in", isNumber: true, cell: ({ etaMs }) => (etaMs === null ? "–" : duration(etaMs)) },
  {
    label: "Cost",
    isNumber: true,
    cell: ({ costUsd, maxCostUsd }) => usd(costUsd) + (maxCostUsd ? ` of ${usd(maxCostUsd)}` : ""),
  },
  { label: "Created", isWide: true, cell: ({ createdAt }) => <Time at={createdAt} /> },
  {
    label: "By",
    isWide: true,
    grows: true,
    cell: ({ source, schedule, metadata }) => schedule ?? metadata.name ?? source,
  },
];

/** Files of rows: where each stands, its pace and its cost. */
export function BatchesPage() {
  const filter = { state: filterOf("state"), cursor: filterOf("cursor") };
  const batches = useLive<Page<Batch>>(
    withQuery("/api/batches", { ...filter, limit: 100 }),
    filter.cursor ? 0 : 2000,
  );
  return (
    <>
      <div class="head">
        <h1>Batches</h1>
      </div>
      <div class="filters">
        <ChoiceFilter
          name="state"
          label="State"
          choices={[["", "any"], ...STATES.map((s) => [s, s.replaceAll("_", " ")] as const)]}
        />
      </div>
      <PagedTable
        live={batches}
        label="Batches"
        columns={COLUMNS}
        keyOf={({ id }) => id}
        hrefOf={({ id }) => `/batches/${encodeURIComponent(id)}`}
        isFailed={({ state, rows }) => state === "failed" || rows.failed > 0}
        empty={
          <>
            No batches. <code>gluellm batch run IN.jsonl -o OUT.jsonl</code> runs one.
          </>
        }
      />
    </>
  );
}

/** One batch: rows by state, pace, cost, and failed rows by their cause. */
export function BatchPage({ id }: { id: string }) {
  const path = `/api/batches/${encodeURIComponent(id)}`;
  const batch = useLive<Batch>(path, 1500);
  return (
    <>
      <div class="head">
        <h1 class="mono">{id}</h1>
        {batch.data && <Badge state={batch.data.state} />}
        <div class="side">{batch.data && <BatchActions batch={batch.data} path={path} />}</div>
      </div>
      <Loaded live={batch}>
        {(data) => (
          <>
            {data.faults.map(({ message, line }) => (
              <Fault
                key={`${line} ${message}`}
                error={new Error(line === null ? message : `line ${line}: ${message}`)}
              />
            ))}
            <BatchFacts batch={data} />
            {data.lanes.length > 0 && <Lanes lanes={data.lanes} />}
            {data.rows.failed > 0 && <Failures path={path} failed={data.rows.failed} />}
          </>
        )}
      </Loaded>
    </>
  );
}

function BatchFacts({ batch }: { batch: Batch }) {
  const { rows, tokens, costUsd, maxCostUsd, quotedUsd } = batch;
  const done = rows.succeeded + rows.failed;
  const perRow = costUsd !== null && done > 0 ? costUsd / done : undefined;
  return (
    <>
      <div class="tiles">
        <Count value={rows.succeeded} name="answered" total={rows.total} />
        <Count value={rows.failed} name="failed" total={rows.total} />
        <Count value={rows.queued} name="queued or at work" total={rows.total} />
        <Count value={rows.unsent} name="not sent yet" total={rows.total} />
      </div>
      <Panel>
        <Facts
          of={[
            ["Rows", <Rows batch={batch} />],
            ["Rows a second", batch.rowsPerSecond?.toFixed(1)],
            ["Ends in", batch.etaMs !== null && duration(batch.etaMs)],
            ["Cost", usd(costUsd)],
            [
              "Cost limit",
              maxCostUsd !== null && (
                <Meter part={costUsd ?? 0} whole={maxCostUsd} label="cost against its limit">
                  {usd(costUsd)} of {usd(maxCostUsd)}
                </Meter>
              ),
            ],
            [
              "Quote",
              quotedUsd !== null &&
                `${usd(quotedUsd.p50)} (${usd(quotedUsd.p10)} to ${usd(quotedUsd.p90)} in four of five)`,
            ],
            [
              "Cost at its end",
              OPEN_STATES.includes(batch.state) &&
                perRow !== undefined &&
                `about ${usd(perRow * rows.total)}`,
            ],
            [
              "Tokens",
              `${count(tokens.prompt)} in (${count(tokens.cached)} cached), ${count(tokens.completion)} out`,
            ],
            [
              "At half the price",
              batch.rowsByLane.batch + batch.rowsByLane.flex > 0 &&
                `${counted(batch.rowsByLane.batch, "row")} in provider batches, ${count(batch.rowsByLane.flex)} in the tier flex: ${usd(batch.savedUsd)} saved`,
            ],
            ["Answers from the cache", batch.cacheHits > 0 && `${count(batch.cacheHits)}, not paid`],
            ["Attempts beyond the first", count(batch.retries)],
            ["429s", count(batch.rateLimited)],
            ["Created", <Time at={batch.createdAt} />],
            ["Ended", batch.endedAt && <Time at={batch.endedAt} />],
            [
              "Must end by",
              OPEN_STATES.includes(batch.state) && batch.expiresAt && <Time at={batch.expiresAt} />,
            ],
            ["Run by", batch.source],
            ["Schedule", batch.schedule],
            [
              "Retry of",
              batch.retryOf && <a href={`/batches/${encodeURIComponent(batch.retryOf)}`}>{batch.retryOf}</a>,
            ],
            [
              "Retried as",
              batch.retriedAs && (
                <a href={`/batches/${encodeURIComponent(batch.retriedAs)}`}>{batch.retriedAs}</a>
              ),
            ],
            ...Object.entries(batch.metadata),
          ]}
        />
      </Panel>
    </>
  );
}

function Count({ value, name, total }: { value: number; name: string; total: number }) {
  return (
    <div class="tile">
      <b>{count(value)}</b>
      <span>
        {name}, {percent(value, total)}
      </span>
    </div>
  );
}

const LANES: readonly Column<BatchLane>[] = [
  { label: "Provider batch", cell: ({ id }) => <span class="mono">{id ?? "–"}</span> },
  { label: "Model", cell: ({ model }) => model },
  { label: "State", cell: ({ state }) => <Badge state={state} /> },
  {
    label: "Done",
    isNumber: true,
    cell: ({ done, rows }) => `${count(done)} of ${count(rows)}`,
  },
  { label: "Why", grows: true, cell: ({ reason }) => reason },
];

function Lanes({ lanes }: { lanes: BatchLane[] }) {
  return (
    <Panel title="Rows in provider batches">
      <Table
        label="Provider batches"
        columns={LANES}
        rows={lanes}
        keyOf={({ id, model, state }) => `${id} ${model} ${state}`}
        empty="None now."
      />
    </Panel>
  );
}

const CAUSES: readonly Column<FailureCause>[] = [
  { label: "Rows", isNumber: true, cell: ({ rows }) => count(rows) },
  { label: "Cause", cell: ({ code }) => <strong>{code}</strong> },
  {
    label: "What one of them says",
    grows: true,
    cell: ({ message, providerMessage }) => (
      <span title={[message, providerMessage].filter(Boolean).join("\n")}>
        {message}
        {providerMessage && `: ${providerMessage}`}
      </span>
    ),
  },
  { label: "What to do", isWide: true, cell: ({ hint }) => <span title={hint}>{hint}</span> },
  { label: "For example", isWide: true, cell: ({ customIds }) => customIds.join(", ") },
];

function Failures({ path, failed }: { path: string; failed: number }) {
  const causes = useLive<{ data: FailureCause[] }>(`${path}/failures`, 5000);
  return (
    <Panel title={`${count(failed)} failed rows, by their cause`}>
      <Loaded live={causes}>
        {({ data }) => (
          <Table
            label="Failed rows by cause"
            columns={CAUSES}
            rows={data}
            keyOf={({ code, message }) => code + message}
            isFailed={() => true}
            empty="Their causes are in the errors file."
          />
        )}
      </Loaded>
    </Panel>
  );
}
