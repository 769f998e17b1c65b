import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { count, counted, duration, millis, usd } from "../format.ts";
import { useKey } from "../keys.ts";
import { useLive } from "../live.ts";
import { Badge, Content, Facts, Fault, Loaded, Panel, Time, TraceLink } from "../parts/basic.tsx";
import { ThoughtTree, thoughtsOf } from "../parts/thought-tree.tsx";
import { type Row, scopedName, treeRows } from "../parts/tree-rows.ts";
import { Waterfall } from "../parts/waterfall.tsx";
import { may } from "../session.ts";
import type { Run, Step } from "../types.ts";
import { RunActions } from "./run-actions.tsx";
import { StepPanel } from "./step-panel.tsx";
import { useSteps } from "./use-steps.ts";

/** Runs of so many steps are shown as a tree too. */
const MAX_TREE = 1000;

/** One run: where its time and money went, step by step, while it runs and after. */
export function RunPage({ id }: { id: string }) {
  const path = `/api/runs/${encodeURIComponent(id)}`;
  const [hasEnded, setEnded] = useState(false);
  const run = useLive<Run>(path, hasEnded ? 0 : 1000);
  if (run.data && (run.data.state !== "running") !== hasEnded) setEnded(run.data.state !== "running");
  return (
    <>
      <div class="head">
        <h1 class="mono">{id}</h1>
        {run.data && <Badge state={run.data.state} />}
        <div class="side">{run.data && <RunActions run={run.data} />}</div>
      </div>
      <Loaded live={run}>{(data) => <RunView run={data} path={path} />}</Loaded>
    </>
  );
}

function RunView({ run, path }: { run: Run; path: string }) {
  const isRunning = run.state === "running";
  const steps = useSteps(run.id, isRunning, MAX_TREE);
  const [selected, setSelected] = useState<Step>();
  const [target, setTarget] = useState<number>();
  const [wantsTree, setTree] = useState(true);
  const isTree =
    wantsTree &&
    steps.total <= MAX_TREE &&
    steps.loaded.length === steps.total &&
    steps.loaded.some(({ step }) => scopedName(step).includes("/"));
  const rows = useMemo(() => (isTree ? treeRows(steps.loaded) : undefined), [isTree, steps.loaded]);
  const rowAt = useCallback(
    (index: number): Row | undefined => {
      if (rows) return rows[index];
      const step = steps.at(index);
      return step && { type: "step", step, depth: 0, name: step.step };
    },
    [rows, steps],
  );
  const { look } = steps;
  const onView = useCallback((first: number, last: number) => !isTree && look(first, last), [isTree, look]);
  const [sought, setSought] = useState<number>();
  // Keys may come faster than the page is drawn.
  const reached = useRef(-1);
  useKey("n", () => {
    const places = rows
      ? rows.flatMap((row, n) => (row.type === "step" && row.step.state === "failed" ? [n] : []))
      : steps.failed;
    const next = places.find((place) => place > reached.current) ?? places[0];
    if (next === undefined) return;
    reached.current = next;
    look(next, next + 1);
    setTarget(next);
    setSought(next);
  });
  // It may have to be loaded first.
  useEffect(() => {
    const row = sought === undefined ? undefined : rowAt(sought);
    if (row?.type !== "step") return;
    setSelected(row.step);
    setSought(undefined);
  });
  useKey("Escape", () => setSelected(undefined));
  const from = millis(run.createdAt) ?? 0;
  const to = millis(run.finishedAt) ?? Date.now();
  const current = selected && (steps.loaded.find(({ step }) => step === selected.step) ?? selected);
  return (
    <>
      {run.error && <Fault error={run.error as unknown as Error} />}
      <Panel>
        <Facts
          of={[
            ["Workflow", `${run.workflow} v${run.version}`],
            ["Waits for", run.waitsFor.join("; ")],
            ["Started", <Time at={run.createdAt} />],
            ["Took", duration(to - from)],
            [
              "Steps",
              steps.total > 0 &&
                `${count(steps.total)}${steps.failed.length > 0 ? `, ${count(steps.failed.length)} failed` : ""}`,
            ],
            ["Tokens", count(run.tokensUsed.total)],
            ["Cost", costOf(run)],
            ["Went on as new", run.continued > 0 && `${run.continued} times`],
            ["Tags", run.tags.join(", ")],
            ["Deadline", <Time at={run.deadlineAt} />],
            ["Trace", run.traceUrl && <TraceLink url={run.traceUrl} />],
          ]}
        />
      </Panel>
      <div class={current ? "run open" : "run"}>
        <div>
          <Panel
            title="Steps"
            side={
              steps.total <= MAX_TREE && (
                <label class="rowlink">
                  <input type="checkbox" checked={wantsTree} onChange={() => setTree(!wantsTree)} /> as a tree
                </label>
              )
            }
          >
            {steps.error && <Fault error={steps.error} />}
            <Waterfall
              total={rows?.length ?? steps.total}
              {...{ rowAt, onView, from, to, target }}
              selected={current?.step}
              onSelect={setSelected}
            />
          </Panel>
          {may("content") && <RunContent path={path} isRunning={isRunning} />}
        </div>
        {current && <StepPanel run={run} step={current} onClose={() => setSelected(undefined)} />}
      </div>
    </>
  );
}

function costOf({ costUsd, unpriced }: Run): string {
  if (unpriced === 0) return usd(costUsd);
  return costUsd === 0 ? "unknown" : `${usd(costUsd)} and ${counted(unpriced, "call")} of unknown cost`;
}

function RunContent({ path, isRunning }: { path: string; isRunning: boolean }) {
  const content = useLive<{ input: unknown; output: unknown }>(
    `${path}/content?of=${isRunning ? "now" : "end"}`,
    0,
  );
  return (
    <Panel title="Input and output">
      <div class="body">
        <Loaded live={content}>
          {({ input, output }) => (
            <>
              <Thoughts output={output} />
              <Content title="Input" value={input} />
              <Content title="Output" value={output} />
            </>
          )}
        </Loaded>
      </div>
    </Panel>
  );
}

function Thoughts({ output }: { output: unknown }) {
  const found = thoughtsOf(output);
  if (!found) return null;
  return (
    <figure class="content">
      <figcaption>Thoughts, with their scores</figcaption>
      <ThoughtTree {...found} />
    </figure>
  );
}
