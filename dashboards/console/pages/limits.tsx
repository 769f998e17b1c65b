import { post } from "../api.ts";
import { count, duration, short } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Loaded, Meter, Panel, Time } from "../parts/basic.tsx";
import { Action } from "../parts/dialog.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { Queue } from "../types.ts";

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
  const queues = useLive<{ data: Queue[] }>("/api/queues", 2000);
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
              isFailed={({ breaker }) => breaker.state !== "closed"}
              empty="No model has had a job yet."
            />
          )}
        </Loaded>
      </Panel>
    </>
  );
}
