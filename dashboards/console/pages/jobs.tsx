import { withQuery } from "../api.ts";
import { clock, count, duration, iso, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Loaded, Panel, Time } from "../parts/basic.tsx";
import { ChoiceFilter, filterOf, TextFilter } from "../parts/filters.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { PastJob } from "../report-types.ts";
import { may } from "../session.ts";
import type { ListedJob, Queue } from "../types.ts";

const COLUMNS: readonly Column<ListedJob>[] = [
  { label: "Job", cell: ({ id }) => <span class="mono">{id.length > 24 ? `${id.slice(0, 22)}…` : id}</span> },
  { label: "State", cell: ({ state }) => <Badge state={state} /> },
  { label: "Of", cell: ({ key }) => key },
  { label: "Added", cell: ({ addedAt }) => <time dateTime={iso(addedAt)}>{clock(addedAt)}</time> },
  {
    label: "Took",
    isNumber: true,
    isWide: true,
    cell: ({ addedAt, endedAt }) => duration((endedAt ?? Date.now()) - addedAt),
  },
  { label: "Part of", isWide: true, cell: partOf },
  {
    label: "Prompt, or why",
    grows: true,
    cell: ({ reason, waitsFor, preview }) =>
      reason ? <span class="bad-text">{reason}</span> : waitsFor ? `waits for ${waitsFor}` : preview,
  },
];

function partOf({ run, step, batch, customId, conversation }: ListedJob) {
  if (run)
    return (
      <a href={`/runs/${encodeURIComponent(run)}`}>
        {step ?? "a step"} of {run.slice(0, 18)}
      </a>
    );
  if (batch) return customId ?? `batch ${batch.slice(0, 14)}`;
  return conversation && <a href={`/conversations/${encodeURIComponent(conversation)}`}>{conversation}</a>;
}

/** Jobs: calls of models, and activities. */
export function JobsPage() {
  const filter = { text: filterOf("text"), state: filterOf("state"), queue: filterOf("queue") };
  const jobs = useLive<{ data: ListedJob[]; looked: number; isPart: boolean }>(
    withQuery("/api/jobs", { ...filter, limit: 200 }),
    3000,
  );
  const queues = useLive<{ data: Queue[] }>("/api/queues", 0);
  const models =
    queues.data?.data.filter(({ queue }) => !queue.startsWith("workflows") && queue !== "schedules") ?? [];
  return (
    <>
      <div class="head">
        <h1>Jobs</h1>
      </div>
      <div class="filters">
        <TextFilter
          name="text"
          label={may("content") ? "Id, conversation, custom_id or prompt" : "Id, conversation or custom_id"}
          placeholder="part of it"
        />
        <ChoiceFilter
          name="state"
          label="State"
          choices={[
            ["", "any"],
            ...["active", "waiting", "delayed", "failed", "succeeded"].map((s) => [s, s] as const),
          ]}
        />
        <ChoiceFilter
          name="queue"
          label="Model or activity"
          choices={[["", "any"], ...models.map(({ queue, key }) => [queue, key] as const)]}
        />
      </div>
      <Panel>
        <Loaded live={jobs}>
          {({ data, looked, isPart }) => (
            <>
              <Table
                label="Jobs"
                columns={COLUMNS}
                rows={data}
                keyOf={({ id, queue }) => `${queue} ${id}`}
                hrefOf={({ id }) => `/jobs/${encodeURIComponent(id)}`}
                isFailed={({ state }) => state === "failed"}
                empty={
                  filter.text ? (
                    <>
                      None of the latest {count(looked)} jobs fits. A job’s whole id finds older ones too:{" "}
                      <a href={`/jobs/${encodeURIComponent(filter.text)}`}>open “{filter.text}”</a>.
                    </>
                  ) : (
                    "No jobs fit. Ended ones leave their queue after an hour; their results stay for 7 days."
                  )
                }
              />
              {isPart && (
                <p class="empty">
                  Of each queue and state the latest jobs were looked at, {count(looked)} in all: choose one
                  to see more.
                </p>
              )}
            </>
          )}
        </Loaded>
      </Panel>
      {filter.text && may("content") && <PastJobs text={filter.text} />}
    </>
  );
}

const PAST: readonly Column<PastJob>[] = [
  { label: "Job", cell: ({ id }) => <span class="mono">{id}</span> },
  { label: "State", cell: ({ state }) => <Badge state={state} /> },
  { label: "Of", isWide: true, cell: ({ model }) => model },
  { label: "Ended", cell: ({ endedAt }) => <Time at={endedAt} /> },
  { label: "Cost", isNumber: true, isWide: true, cell: ({ costUsd }) => usd(costUsd) },
  { label: "Prompt, or why", grows: true, cell: ({ errorMessage, prompt }) => errorMessage ?? prompt },
];
const PAST_DAYS = 30;

/** Jobs that have left their queues, where a history is kept. */
function PastJobs({ text }: { text: string }) {
  const since = new Date(
    Math.floor(Date.now() / 3_600_000) * 3_600_000 - PAST_DAYS * 86_400_000,
  ).toISOString();
  const jobs = useLive<{ data: PastJob[] }>(withQuery("/api/history/jobs", { text, since, limit: 100 }), 0);
  if (!jobs.data || jobs.data.data.length === 0) return null;
  return (
    <Panel title={`Ended in the last ${PAST_DAYS} days`}>
      <Table
        label="Ended jobs"
        columns={PAST}
        rows={jobs.data.data}
        keyOf={({ id }) => id}
        hrefOf={({ id }) => `/jobs/${encodeURIComponent(id)}`}
        isFailed={({ state }) => state === "failed"}
      />
    </Panel>
  );
}
