import { post } from "../api.ts";
import { duration, relative } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Facts, Loaded, Panel, Time } from "../parts/basic.tsx";
import { Action } from "../parts/dialog.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { go } from "../router.ts";
import type { Schedule } from "../types.ts";

const every = ({ cron, everyMs, timezone }: Schedule) =>
  cron ? `${cron} (${timezone})` : `every ${duration(everyMs)}`;

const COLUMNS: readonly Column<Schedule>[] = [
  { label: "Schedule", cell: ({ id }) => <span class="mono">{id}</span> },
  { label: "State", cell: ({ state }) => <Badge state={state} /> },
  { label: "Starts", cell: ({ subject, kind }) => `${kind} ${subject}` },
  { label: "When", cell: every },
  { label: "Next", cell: ({ nextRun }) => (nextRun ? relative(nextRun) : "–") },
  { label: "Under way", isNumber: true, isWide: true, cell: ({ running }) => running.length },
  {
    label: "Latest tick",
    isWide: true,
    grows: true,
    cell: ({ ticks }) =>
      ticks[0] && (
        <>
          <Badge state={ticks[0].outcome} /> {relative(ticks[0].plannedAt)}
        </>
      ),
  },
];

/** What starts runs and calls at times. */
export function SchedulesPage() {
  const schedules = useLive<{ data: Schedule[] }>("/api/schedules", 3000);
  return (
    <>
      <div class="head">
        <h1>Schedules</h1>
      </div>
      <Panel>
        <Loaded live={schedules}>
          {({ data }) => (
            <Table
              label="Schedules"
              columns={COLUMNS}
              rows={data}
              keyOf={({ id }) => id}
              hrefOf={({ id }) => `/schedules/${encodeURIComponent(id)}`}
              empty={
                <>
                  No schedules. <code>gluellm schedule create</code> makes one.
                </>
              }
            />
          )}
        </Loaded>
      </Panel>
    </>
  );
}

/** The pages of what schedules start. */
const PAGES = { workflow: "runs", completion: "jobs", batch: "batches" } as const;

function hrefOfStart(kind: Schedule["kind"], id: string): string {
  return `/${PAGES[kind]}/${encodeURIComponent(id)}`;
}

function ticksOf(kind: Schedule["kind"]): Column<Schedule["ticks"][number]>[] {
  return [
    { label: "Planned", cell: ({ plannedAt }) => <Time at={plannedAt} /> },
    { label: "Outcome", cell: ({ outcome }) => <Badge state={outcome} /> },
    {
      label: "Started",
      grows: true,
      cell: ({ id, reason }) => (id ? <a href={hrefOfStart(kind, id)}>{id}</a> : reason),
    },
  ];
}

export function SchedulePage({ id }: { id: string }) {
  const path = `/api/schedules/${encodeURIComponent(id)}`;
  const schedule = useLive<Schedule>(path, 3000);
  return (
    <>
      <div class="head">
        <h1 class="mono">{id}</h1>
        {schedule.data && <Badge state={schedule.data.state} />}
        <div class="side">{schedule.data && <ScheduleActions schedule={schedule.data} path={path} />}</div>
      </div>
      <Loaded live={schedule}>
        {(data) => (
          <>
            <Panel>
              <Facts
                of={[
                  ["Starts", `${data.kind} ${data.subject}`],
                  ["When", every(data)],
                  ["Next", data.nextRun && <Time at={data.nextRun} />],
                  ["While one is under way", data.overlap],
                  ["What was missed", data.catchUp],
                  ["Created", <Time at={data.createdAt} />],
                  ["Under way", data.running.join(", ")],
                ]}
              />
            </Panel>
            <Panel title="Latest ticks">
              <Table
                label="Ticks"
                columns={ticksOf(data.kind)}
                rows={data.ticks}
                keyOf={({ plannedAt, outcome, id: run }) => `${plannedAt} ${outcome} ${run}`}
                empty="It has not ticked yet."
              />
            </Panel>
          </>
        )}
      </Loaded>
    </>
  );
}

function ScheduleActions({ schedule, path }: { schedule: Schedule; path: string }) {
  const scope = ["workflow", "operate"] as const;
  return (
    <>
      <Action
        label="Start now"
        scope={scope}
        explain={
          <p>
            Starts a {schedule.kind} of {schedule.subject} at once, which costs as much as each of its ticks
            does. The times of its ticks stay.
          </p>
        }
        act={async () => {
          const { run } = await post<{ run: string }>(`${path}/trigger`);
          go(hrefOfStart(schedule.kind, run));
          return `Started ${run}.`;
        }}
      />
      {schedule.state === "active" ? (
        <Action
          label="Pause"
          scope={scope}
          explain={<p>It ticks no more until it is resumed; what is under way goes on. It costs nothing.</p>}
          act={async () => {
            await post(`${path}/pause`);
            return "The schedule is paused.";
          }}
        />
      ) : (
        <Action
          label="Resume"
          scope={scope}
          explain={
            <p>
              It ticks again from its next time on, and each tick is paid. Nothing that was missed is caught
              up.
            </p>
          }
          act={async () => {
            await post(`${path}/resume`);
            return "The schedule ticks again.";
          }}
        />
      )}
    </>
  );
}
