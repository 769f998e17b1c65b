import { withQuery } from "../api.ts";
import { clock, count, percent } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Loaded, Panel } from "../parts/basic.tsx";
import { ChoiceFilter, filterOf } from "../parts/filters.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { ErrorGroup, ErrorReport } from "../report-types.ts";

const HOUR_MS = 3_600_000;

function columnsOf(by: string): Column<ErrorGroup>[] {
  return [
    ...by.split(",").map((name): Column<ErrorGroup> => {
      const field = name as "code" | "model" | "provider" | "queue" | "hour";
      return {
        label: name,
        cell: (group) =>
          field === "hour" ? (
            clock(group.hour)
          ) : field === "code" ? (
            <strong>{group.code}</strong>
          ) : (
            group[field]
          ),
      };
    }),
    { label: "Failed", isNumber: true, cell: ({ failed }) => count(failed) },
    { label: "Failed calls", isNumber: true, cell: ({ failedCalls }) => count(failedCalls) },
    {
      label: "The latest",
      grows: true,
      cell: ({ example }) =>
        example && (
          <a href={`/${example.kind}s/${encodeURIComponent(example.id)}`} title={example.message}>
            {clock(example.at)} {example.message}
          </a>
        ),
    },
  ];
}

/** What failed, grouped, with examples and what stands out. */
export function ErrorsPage() {
  const hours = Number(filterOf("hours") ?? 1);
  const by = filterOf("by") ?? "code,model";
  const since = new Date(Math.floor((Date.now() - (hours - 1) * HOUR_MS) / HOUR_MS) * HOUR_MS).toISOString();
  const report = useLive<ErrorReport>(withQuery("/api/errors", { since, by }), 5000);
  return (
    <>
      <div class="head">
        <h1>Errors</h1>
        {report.data && (
          <div class="side muted">
            {count(report.data.failed)} failed, {count(report.data.succeeded)} succeeded,{" "}
            {percent(report.data.failed, report.data.failed + report.data.succeeded)} since{" "}
            {clock(report.data.since)}
          </div>
        )}
      </div>
      <div class="filters">
        <ChoiceFilter
          name="hours"
          label="Of"
          choices={[
            ["", "this hour"],
            ["6", "6 hours"],
            ["24", "a day"],
            ["72", "3 days"],
          ]}
        />
        <ChoiceFilter
          name="by"
          label="By"
          choices={[
            ["", "code and model"],
            ["code", "code"],
            ["model", "model"],
            ["provider", "provider"],
            ["queue,code", "queue and code"],
            ["hour,code", "hour and code"],
          ]}
        />
      </div>
      <Loaded live={report}>
        {({ patterns, groups }) => (
          <>
            {patterns.length > 0 && (
              <Panel title="What stands out">
                <ul class="list">
                  {patterns.map(({ pattern, text, hint }) => (
                    <li key={pattern + text}>
                      <Badge state={pattern} tone="warn" />
                      <span class="what">
                        {text} <span class="muted">{hint}</span>
                      </span>
                    </li>
                  ))}
                </ul>
              </Panel>
            )}
            <Panel>
              <Table
                label="Errors"
                columns={columnsOf(by)}
                rows={groups}
                keyOf={(group) =>
                  by
                    .split(",")
                    .map((name) => String(group[name as "code"]))
                    .join(" ")
                }
                isFailed={({ failed }) => failed > 0}
                empty="Nothing failed."
              />
            </Panel>
          </>
        )}
      </Loaded>
    </>
  );
}
