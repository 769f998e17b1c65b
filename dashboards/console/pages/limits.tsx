import { post, withQuery } from "../api.ts";
import { count, duration, short } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Empty, Facts, Loaded, Meter, Panel, Time } from "../parts/basic.tsx";
import { Chart } from "../parts/chart.tsx";
import { Action } from "../parts/dialog.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { Queue, UseSeries } from "../types.ts";

export const isModelQueue = ({ queue }: Queue) => queue.startsWith("completions.");

const COLUMNS: readonly Column<Queue>[] = [
  { label: "Model", cell: ({ key }) => key },
  { label: "Requests a minute", cell: (queue) => <Use queue={queue} of="rpm" /> },
  { label: "Tokens a minute", cell: (queue) => <Use queue={queue} of="tpm" /> },
  { label: "429s", isNumber: true, cell: ({ used }) => count(used.rateLimited) },
  { label: "Breaker", cell: ({ breaker }) => <Badge state={breaker.state} /> },
  { label: "Bucket", isWide: true, cell: ({ bucket }) => bucket ?? "" },
  {
    label: "Pause",
    isWide: true,
    cell: ({ pausedByOperator, longPause, pausedMs }) =>
      pausedByOperator ? (
        "an operator’s"
      ) : longPause ? (
        <>
          until <Time at={longPause.until} />
        </>
      ) : pausedMs > 0 ? (
        duration(pausedMs)
      ) : (
        ""
      ),
  },
  { label: "Waits for", isWide: true, grows: true, cell: ({ waitsFor }) => waitsFor.join("; ") },
  { label: "Act", cell: (queue) => <Pause queue={queue} /> },
];

function Use({ queue, of }: { queue: Queue; of: "rpm" | "tpm" }) {
  const { used, limits } = queue;
  const part = of === "rpm" ? used.requests : used.tokens;
  const limit = limits[of];
  const text = limit ? `${short(part)} of ${short(limit.perMinute)}` : short(part);
  return (
    <Meter
      part={part}
      whole={limit?.perMinute}
      label={`${of === "rpm" ? "requests" : "tokens"} a minute of ${queue.key}`}
    >
      {text} {limit && <span class="muted">{limit.source}</span>}
    </Meter>
  );
}

function Pause({ queue: { queue, key, pausedByOperator, pausedMs, counts } }: { queue: Queue }) {
  const path = `/api/queues/${encodeURIComponent(key)}`;
  if (pausedByOperator || pausedMs > 0)
    return (
      <Action
        label="Resume"
        explain={
          <p>
            Workers take jobs of {key} again: {count(counts.waiting + counts.delayed)} are due, and are paid
            as they run. A pause that the provider asked for is lifted too.
          </p>
        }
        act={async () => {
          await post(`${path}/resume`);
          return `${key} is resumed.`;
        }}
      />
    );
  return (
    <Action
      label="Pause"
      explain={
        <p>
          Workers take no more jobs of <code>{queue}</code> until it is resumed; {count(counts.active)} that
          are under way end, and are paid. Nothing is lost, and it costs nothing.
        </p>
      }
      act={async () => {
        await post(`${path}/pause`);
        return `${key} is paused.`;
      }}
    />
  );
}

/** What each model may use, what it uses, and what holds it up. */
export function LimitsPage() {
  const queues = useLive<{ data: Queue[] }>("/api/queues", 2000, { ticks: true });
  return (
    <>
      <div class="head">
        <h1>Limits</h1>
        <div class="side muted">of the last minute; learned limits are what providers said of themselves</div>
      </div>
      <Panel>
        <Loaded live={queues}>
          {({ data }) => (
            <Table
              label="Limits"
              columns={COLUMNS}
              rows={data.filter(isModelQueue)}
              keyOf={({ queue }) => queue}
              hrefOf={({ key }) => `/limits/${encodeURIComponent(key)}`}
              isFailed={({ breaker }) => breaker.state !== "closed"}
              empty="No model has had a job yet."
            />
          )}
        </Loaded>
      </Panel>
    </>
  );
}

/** One model: what it used in the last minutes against what it may use, and what holds it up. */
export function LimitPage({ id }: { id: string }) {
  const queues = useLive<{ data: Queue[] }>("/api/queues", 2000, { ticks: true });
  const use = useLive<UseSeries>(withQuery("/api/limits/use", { key: id }), 2000, { ticks: true });
  const queue = queues.data?.data.find(({ key }) => key === id);
  return (
    <>
      <div class="head">
        <h1>{id}</h1>
        <div class="side">{queue && <Pause queue={queue} />}</div>
      </div>
      <Loaded live={queues}>
        {() => (queue ? <QueueFacts queue={queue} /> : <Empty>No jobs of this model.</Empty>)}
      </Loaded>
      <div class="grid">
        <Panel title="Tokens a minute">
          <Loaded live={use}>
            {(series) => (
              <UseChart
                label="Tokens a minute"
                {...{ series }}
                of="tokens"
                limit={queue?.limits.tpm?.perMinute}
              />
            )}
          </Loaded>
        </Panel>
        <Panel title="Requests a minute">
          <Loaded live={use}>
            {(series) => (
              <UseChart
                label="Requests a minute"
                {...{ series }}
                of="requests"
                limit={queue?.limits.rpm?.perMinute}
              />
            )}
          </Loaded>
        </Panel>
      </div>
    </>
  );
}

function QueueFacts({ queue }: { queue: Queue }) {
  const { counts, limits, breaker, bucket, longPause, pausedMs, pausedByOperator, waitsFor } = queue;
  const limit = (name: string, of: { perMinute: number; source: string } | undefined) =>
    [name, of && `${count(of.perMinute)} a minute, ${of.source}`] as const;
  return (
    <Panel>
      <Facts
        of={[
          ["Waits for", waitsFor.join("; ")],
          ["Waiting", count(counts.waiting)],
          ["The oldest waits for", queue.oldestMs !== null && duration(queue.oldestMs)],
          ["At work", count(counts.active)],
          ["Delayed", count(counts.delayed)],
          [
            "Failed, kept",
            <a href={`/jobs?state=failed&queue=${encodeURIComponent(queue.queue)}`}>
              {count(counts.failed)}
            </a>,
          ],
          limit("Requests", limits.rpm),
          limit("Tokens", limits.tpm),
          limit("Input tokens", limits.itpm),
          limit("Output tokens", limits.otpm),
          ["Shares the budget", bucket],
          ["Breaker", <Badge state={breaker.state} />],
          [
            "Failed calls of it",
            breaker.calls > 0 && `${count(breaker.failures)} of ${count(breaker.calls)}`,
          ],
          ["Opened", breaker.opened > 0 && `${breaker.opened} times`],
          [
            "Pause",
            pausedByOperator
              ? "an operator’s"
              : longPause
                ? `until ${new Date(longPause.until).toISOString()}: ${longPause.reason}`
                : pausedMs > 0 && duration(pausedMs),
          ],
        ]}
      />
    </Panel>
  );
}

interface UseChartProps {
  label: string;
  series: UseSeries;
  of: "tokens" | "requests";
  limit: number | undefined;
}

function UseChart({ label, series: { data, stepMs }, of, limit }: UseChartProps) {
  const times = data.map(({ at }) => at / 1000);
  const used = {
    name: "used",
    color: "--span-model",
    values: data.map((step) => Math.round((step[of] * 60_000) / stepMs)),
  };
  const series = limit
    ? [used, { name: "limit", color: "--span-breaker", isDashed: true, values: data.map(() => limit) }]
    : [used];
  return <Chart {...{ label, times, series }} format={short} />;
}
