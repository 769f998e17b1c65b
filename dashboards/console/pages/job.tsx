import { post } from "../api.ts";
import { count, duration, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Facts, Loaded, Panel, Time, TraceLink } from "../parts/basic.tsx";
import { Action } from "../parts/dialog.tsx";
import { TimeList } from "../parts/time-list.tsx";
import type { JobLife } from "../types.ts";
import { JobApprovals } from "./job-approvals.tsx";
import { JobContent } from "./job-content.tsx";

/** One job from its enqueueing to its result. */
export function JobPage({ id }: { id: string }) {
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  const job = useLive<JobLife>(`${path}/life`, 2000);
  return (
    <>
      <div class="head">
        <h1 class="mono">{id}</h1>
        {job.data && <Badge state={job.data.state} />}
        <div class="side">{job.data && <JobActions life={job.data} path={path} />}</div>
      </div>
      {job.data?.state === "suspended" && <JobApprovals path={path} />}
      <Loaded live={job}>{(life) => <LifeView life={life} />}</Loaded>
    </>
  );
}

function LifeView({ life }: { life: JobLife }) {
  const { outcome, addedAt, endedAt, workflow, batch, conversation } = life;
  const end = endedAt ?? Date.now();
  return (
    <div class="grid">
      <Panel title="Its life">
        <Facts
          of={[
            ["Of", outcome?.model ?? life.key],
            ["Waits for", life.waitsFor.join("; ")],
            ["Added", <Time at={addedAt} />],
            ["Began", life.startedAt && <Time at={life.startedAt} />],
            ["Ended", endedAt && <Time at={endedAt} />],
            ["Took", addedAt && duration(end - addedAt)],
            ["Deadline", endedAt === undefined && life.deadlineAt && <Time at={life.deadlineAt} />],
            ["Attempts", outcome?.attempts ?? life.attempts.length],
            ["Calls", outcome?.calls],
            [
              "Tokens",
              outcome &&
                `${count(outcome.tokens.prompt)} in (${count(outcome.tokens.cached)} cached), ${count(outcome.tokens.completion)} out`,
            ],
            [
              "Cost",
              outcome &&
                (outcome.isFromCache
                  ? `${usd(outcome.costUsd)}: reused, not paid again`
                  : usd(outcome.costUsd)),
            ],
            ["Given up", outcome?.fallbacks?.map(({ model, code }) => `${model} (${code})`).join(", ")],
            ["Other models", life.fallbacks.join(", ")],
            ["Agent", life.agent],
            ["Tools", life.tools.join(", ")],
            ["Trace", life.traceUrl && <TraceLink url={life.traceUrl} />],
            ["Provider’s request id", outcome?.requestId && <code>{outcome.requestId}</code>],
            [
              "Run",
              workflow?.runId && (
                <a href={`/runs/${encodeURIComponent(workflow.runId)}`}>
                  {workflow.step} of {workflow.runId}
                </a>
              ),
            ],
            [
              "Batch",
              batch?.id && (
                <a href={`/batches/${encodeURIComponent(batch.id)}`}>
                  {batch.customId ?? `line ${batch.line}`} of {batch.id}
                </a>
              ),
            ],
            [
              "Conversation",
              conversation?.id && (
                <a href={`/conversations/${encodeURIComponent(conversation.id)}`}>
                  turn {(conversation.position ?? 0) + 1} of {conversation.id}
                </a>
              ),
            ],
          ]}
        />
        <div class="body">
          <Bar life={life} end={end} />
        </div>
      </Panel>
      <Panel title="What it was asked, and what came of it">
        <div class="body">
          <JobContent life={life} />
        </div>
      </Panel>
    </div>
  );
}

/** Its time on one axis, and the same in words. */
function Bar({ life, end }: { life: JobLife; end: number }) {
  const start = life.addedAt ?? end;
  const share = (ms: number) => `${(100 * ms) / Math.max(1, end - start)}%`;
  return (
    <>
      <div class="track" aria-hidden="true">
        {life.spans.map(({ kind, from, to = end }) => (
          <i
            key={`${kind} ${from}`}
            class={`k-${kind}`}
            style={{ left: share(from - start), width: share(to - from) }}
          />
        ))}
      </div>
      <TimeList spans={life.spans} end={end} />
    </>
  );
}

function JobActions({ life, path }: { life: JobLife; path: string }) {
  const isOpen = ["waiting", "delayed", "suspended", "active"].includes(life.state);
  const scope = ["complete", "operate"] as const;
  return (
    <>
      {isOpen && (
        <Action
          label="Cancel job"
          isDangerous
          scope={scope}
          explain={
            <p>
              No further call is made for this job, and one in flight is aborted. Who waits for it is told so.
              It costs nothing.
            </p>
          }
          act={async () => {
            await post(`${path}/cancel`);
            return "The job is cancelled.";
          }}
        />
      )}
      {life.state === "failed" && (
        <Action
          label="Retry job"
          scope={scope}
          explain={
            <p>
              The job tries again from the call that failed, with new attempts. What it has is not paid again
              {life.outcome?.costUsd ? ` (${usd(life.outcome.costUsd)} so far)` : ""}; the calls from there on
              are paid.
            </p>
          }
          act={async () => {
            await post(`${path}/retry`);
            return "The job tries again.";
          }}
        />
      )}
    </>
  );
}
