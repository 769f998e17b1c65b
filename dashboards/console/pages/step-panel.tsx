import { count, duration, millis, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Facts, Fault, Loaded, Panel, Time, TraceLink } from "../parts/basic.tsx";
import { TimeList } from "../parts/time-list.tsx";
import { may } from "../session.ts";
import type { JobLife, Run, Step } from "../types.ts";
import { JobContent } from "./job-content.tsx";
import { Fork } from "./run-actions.tsx";

const REUSED = {
  fork: "Reused, not paid again: the run that this one was forked from paid for it.",
  cache: "Reused, not paid again: the answer was in the cache.",
};

/** All of one step, beside the waterfall. */
export function StepPanel({ run, step, onClose }: { run: Run; step: Step; onClose: () => void }) {
  const end = millis(step.finishedAt) ?? Date.now();
  const isJob = step.job !== undefined && (step.kind === "completion" || step.kind === "activity");
  return (
    <Panel
      class="details"
      title={step.step}
      side={
        <button type="button" onClick={onClose} aria-label="Close the step">
          ✕
        </button>
      }
    >
      <div class="body">
        {step.reused && <p class="badge ok">{REUSED[step.reused]}</p>}
        {step.error && <Fault error={step.error as unknown as Error} />}
        <Facts
          of={[
            ["State", <Badge state={step.state} />],
            ["Kind", step.kind],
            [step.kind === "completion" ? "Model" : "Of", step.subject],
            ["Asked for", <Time at={step.startedAt} />],
            ["Took", step.startedAt && duration(end - (millis(step.startedAt) ?? end))],
            ["Attempts", step.attempts],
            ["Tokens", step.tokensUsed.total > 0 && tokensOf(step)],
            ["Cost", step.kind === "completion" && step.state !== "running" && usd(step.costUsd)],
          ]}
        />
        <TimeList spans={step.spans} end={end} />
        {step.kind === "child" && step.job && (
          <a href={`/runs/${encodeURIComponent(step.job)}`}>Open the child run</a>
        )}
        {isJob && <StepJob id={step.job as string} isRunning={step.state === "running"} />}
        {may("workflow") && <Fork run={run} step={step} />}
      </div>
    </Panel>
  );
}

function tokensOf({ tokensUsed: { prompt, completion } }: Step): string {
  return `${count(prompt)} in, ${count(completion)} out`;
}

function StepJob({ id, isRunning }: { id: string; isRunning: boolean }) {
  const job = useLive<JobLife>(`/api/jobs/${encodeURIComponent(id)}/life`, isRunning ? 2000 : 0);
  return (
    <>
      <p>
        <a href={`/jobs/${encodeURIComponent(id)}`} class="mono">
          {id}
        </a>
      </p>
      <Loaded live={job}>
        {(life) => (
          <>
            <TraceLink url={life.traceUrl} />
            <JobContent life={life} />
          </>
        )}
      </Loaded>
    </>
  );
}
