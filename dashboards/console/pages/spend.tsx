import { withQuery } from "../api.ts";
import { count, duration, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Empty, Loaded, Panel } from "../parts/basic.tsx";
import { Chart } from "../parts/chart.tsx";
import { ChoiceFilter, filterOf } from "../parts/filters.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { SlowItem, Spend } from "../report-types.ts";

const DAY_MS = 86_400_000;
const MIN_POINTS = 2;

function columnsOf(by: string): Column<Spend>[] {
  return [
    ...by.split(",").map((name): Column<Spend> => ({ label: name, cell: ({ group }) => group[name] })),
    { label: "Calls", isNumber: true, cell: ({ calls }) => count(calls) },
    { label: "Input tokens", isNumber: true, isWide: true, cell: ({ promptTokens }) => count(promptTokens) },
    { label: "Cached", isNumber: true, isWide: true, cell: ({ cachedTokens }) => count(cachedTokens) },
    {
      label: "Output tokens",
      isNumber: true,
      isWide: true,
      cell: ({ completionTokens }) => count(completionTokens),
    },
    { label: "Cost", isNumber: true, cell: ({ costUsd }) => usd(costUsd) },
    { label: "Of unknown cost", isNumber: true, isWide: true, cell: ({ unpriced }) => count(unpriced) },
  ];
}

const SLOW: readonly Column<SlowItem>[] = [
  { label: "Took", isNumber: true, cell: ({ durationMs }) => duration(durationMs) },
  { label: "Of", cell: ({ subject }) => subject },
  {
    label: "Call",
    grows: true,
    cell: ({ id }) => <a href={`/jobs/${encodeURIComponent(id.replace(/\/\d+$/, ""))}`}>{id}</a>,
  },
];

/** What calls cost, out of the history's database. */
export function SpendPage() {
  const days = Number(filterOf("days") ?? 1);
  const by = filterOf("by") ?? "model";
  const since = new Date(Math.floor(Date.now() / 60_000) * 60_000 - days * DAY_MS).toISOString();
  const spend = useLive<{ data: Spend[] }>(
    withQuery("/api/history/spend", { since, by, limit: 200 }),
    10_000,
  );
  const unit = days > 2 ? "day" : "hour";
  const time = useLive<{ data: Spend[] }>(
    withQuery("/api/history/spend", { since, by: unit, limit: 1000 }),
    10_000,
  );
  const slow = useLive<{ data: SlowItem[] }>(withQuery("/api/history/slowest", { since, limit: 10 }), 10_000);
  const total = spend.data?.data.reduce((sum, { costUsd }) => sum + costUsd, 0);
  return (
    <>
      <div class="head">
        <h1>Spend</h1>
        {total !== undefined && <div class="side muted">{usd(total)} in all</div>}
      </div>
      <div class="filters">
        <ChoiceFilter
          name="days"
          label="Of"
          choices={[
            ["", "a day"],
            ["7", "a week"],
            ["30", "30 days"],
          ]}
        />
        <ChoiceFilter
          name="by"
          label="By"
          choices={[
            ["", "model"],
            ["tenant", "tenant"],
            ["day", "day"],
            ["model,day", "model and day"],
          ]}
        />
      </div>
      <Loaded live={spend}>
        {({ data }) => (
          <>
            <Panel title={`Cost by the ${unit}`}>
              {time.data && <OverTime of={time.data.data} unit={unit} />}
            </Panel>
            <Panel>
              <Table
                label="Spend"
                columns={columnsOf(by)}
                rows={data}
                keyOf={({ group }) => Object.values(group).join(" ")}
                empty="No call has ended in this time."
              />
            </Panel>
            {slow.data && (
              <Panel title="What took longest">
                <Table
                  label="Slowest calls"
                  columns={SLOW}
                  rows={slow.data.data}
                  keyOf={({ id }) => id}
                  empty="No call has ended in this time."
                />
              </Panel>
            )}
          </>
        )}
      </Loaded>
    </>
  );
}

function OverTime({ of, unit }: { of: readonly Spend[]; unit: string }) {
  const points = of
    .map(({ group, costUsd }) => ({ at: timeOf(group[unit]), costUsd }))
    .filter(({ at }) => !Number.isNaN(at))
    .sort((a, b) => a.at - b.at);
  if (points.length < MIN_POINTS) return <Empty>There is one {unit} so far: see the table.</Empty>;
  const values = points.map(({ costUsd }) => costUsd);
  return (
    <Chart
      label={`Cost by the ${unit}`}
      times={points.map(({ at }) => at)}
      series={[{ name: "cost", color: "--span-model", values }]}
      format={usd}
      isOfDays={unit === "day"}
    />
  );
}

/** `2026-11-29` or `2026-11-29T23:00Z`, as epoch seconds. */
function timeOf(text = ""): number {
  return Date.parse(text) / 1000;
}
