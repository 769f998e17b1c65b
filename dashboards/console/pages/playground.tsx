import { useState } from "preact/hooks";
import { type ApiError, post } from "../api.ts";
import { count, duration, millis, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Facts, Fault, Loaded, Panel } from "../parts/basic.tsx";
import { filterOf } from "../parts/filters.tsx";
import { exampleOf, SchemaForm } from "../parts/schema-form.tsx";
import { setQuery } from "../router.ts";
import { may } from "../session.ts";
import type { JobLife, Queue, Run, Schema, Worker } from "../types.ts";
import { JobContent } from "./job-content.tsx";
import { isModelQueue } from "./limits.tsx";

const ENDED = ["succeeded", "failed", "cancelled"];

/** Tries a prompt, a tool or a workflow: every try is a job, or a run, like any other. */
export function PlaygroundPage() {
  const kind = filterOf("try") ?? (may("complete") ? "prompt" : "workflow");
  return (
    <>
      <div class="head">
        <h1>Playground</h1>
        <div class="side">
          {may("complete") && <Kind of="prompt" now={kind} name="Prompt or tool" />}
          {may("workflow") && <Kind of="workflow" now={kind} name="Workflow" />}
        </div>
      </div>
      {kind === "workflow" ? <TryWorkflow /> : <TryPrompt />}
    </>
  );
}

function Kind({ of, now, name }: { of: string; now: string; name: string }) {
  return (
    <button
      type="button"
      aria-pressed={of === now}
      class={of === now ? "primary" : ""}
      onClick={() => setQuery({ try: of })}
    >
      {name}
    </button>
  );
}

function TryPrompt() {
  const queues = useLive<{ data: Queue[] }>("/api/queues", 0);
  const workers = useLive<{ data: Worker[] }>("/api/workers", 0);
  const [job, setJob] = useState<string>();
  const [fault, setFault] = useState<ApiError>();
  const models = (queues.data?.data ?? []).filter(isModelQueue).map(({ key }) => key);
  const tools = [...new Set(workers.data?.data.flatMap(({ tools: of }) => of))].sort();
  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? "").trim() || undefined;
    const number = (name: string) => (text(name) === undefined ? undefined : Number(text(name)));
    const named = form.getAll("tool").map(String);
    setFault(undefined);
    try {
      const made = await post<{ id: string }>("/api/jobs", {
        message: text("prompt"),
        system: text("system"),
        model: text("model"),
        temperature: number("temperature"),
        maxTokens: number("maxTokens"),
        maxCostUsd: number("maxCostUsd"),
        ...(named.length > 0 && { tools: named }),
      });
      setJob(made.id);
    } catch (error) {
      setFault(error as ApiError);
    }
  }
  return (
    <div class="grid">
      <Panel title="Try a prompt">
        <form class="form" onSubmit={(event) => void submit(event as unknown as SubmitEvent)}>
          <label>
            Prompt
            <textarea name="prompt" required rows={5} data-filter="" />
          </label>
          <label>
            System prompt
            <textarea name="system" rows={2} />
          </label>
          <label>
            Model
            <input name="model" list="models" placeholder="the default model" />
            <datalist id="models">
              {models.map((key) => (
                <option key={key} value={key} />
              ))}
            </datalist>
          </label>
          <div class="filters">
            <label class="filter">
              <span>Temperature</span>
              <input type="number" name="temperature" step="0.1" min="0" max="2" />
            </label>
            <label class="filter">
              <span>Most tokens of the answer</span>
              <input type="number" name="maxTokens" min="1" />
            </label>
            <label class="filter">
              <span>Most USD</span>
              <input type="number" name="maxCostUsd" step="any" min="0" />
            </label>
          </div>
          {tools.length > 0 && (
            <fieldset>
              <legend>Tools that the model may call</legend>
              {tools.map((name) => (
                <label class="check" key={name}>
                  <input type="checkbox" name="tool" value={name} /> {name}
                </label>
              ))}
            </fieldset>
          )}
          <small class="muted">
            It is a job like any other: it waits for its turn, keeps to the limits, and is paid. “Most USD”
            stops it before it could cost more.
          </small>
          {fault && <Fault error={fault} />}
          <div class="buttons">
            <button type="submit" class="primary">
              Try it
            </button>
          </div>
        </form>
      </Panel>
      {job && <Tried id={job} key={job} />}
    </div>
  );
}

/** What comes of a try, with its time and its cost. */
function Tried({ id }: { id: string }) {
  const [isOver, setOver] = useState(false);
  const job = useLive<JobLife>(`/api/jobs/${encodeURIComponent(id)}/life`, isOver ? 0 : 500);
  if (job.data && ENDED.includes(job.data.state) && !isOver) setOver(true);
  return (
    <Panel
      title={
        <a class="mono" href={`/jobs/${encodeURIComponent(id)}`}>
          {id}
        </a>
      }
      side={job.data && <Badge state={job.data.state} />}
    >
      <div class="body">
        <Loaded live={job}>
          {(life) => (
            <>
              <Facts
                of={[
                  ["Waits for", life.waitsFor.join("; ")],
                  ["Took", life.addedAt && duration((life.endedAt ?? Date.now()) - life.addedAt)],
                  ["Of that the model", life.outcome && duration(life.outcome.latencyMs)],
                  [
                    "Tokens",
                    life.outcome &&
                      `${count(life.outcome.tokens.prompt)} in, ${count(life.outcome.tokens.completion)} out`,
                  ],
                  ["Cost", life.outcome && usd(life.outcome.costUsd)],
                  ["Model", life.outcome?.model],
                ]}
              />
              <JobContent life={life} />
            </>
          )}
        </Loaded>
      </div>
    </Panel>
  );
}

function TryWorkflow() {
  const schemas = useLive<{ data: Record<string, Schema> }>("/api/workflow-schemas", 0);
  const known = useLive<{ data: { workflow: string }[] }>("/api/workflows", 0);
  const [name, setName] = useState("");
  const [started, setStarted] = useState<string>();
  const served = new Set(known.data?.data.map(({ workflow }) => workflow));
  return (
    <div class="grid">
      <Panel title="Try a workflow">
        <Loaded live={schemas}>
          {({ data }) => (
            <>
              <div class="body form">
                <label>
                  Workflow
                  <select
                    value={name}
                    onChange={({ currentTarget }) => setName(currentTarget.value)}
                    data-filter=""
                  >
                    <option value="">choose one</option>
                    {Object.keys(data)
                      .sort()
                      .map((one) => (
                        <option key={one} value={one}>
                          {one}
                          {served.has(one) ? "" : " (no worker has it)"}
                        </option>
                      ))}
                  </select>
                </label>
              </div>
              {data[name] && (
                <WorkflowForm key={name} {...{ name, schema: data[name], onStart: setStarted }} />
              )}
            </>
          )}
        </Loaded>
      </Panel>
      {started && <Started id={started} key={started} />}
    </div>
  );
}

/** What comes of a run, with its time and its cost. */
function Started({ id }: { id: string }) {
  const [isOver, setOver] = useState(false);
  const run = useLive<Run>(`/api/runs/${encodeURIComponent(id)}`, isOver ? 0 : 1000);
  if (run.data && ENDED.includes(run.data.state) && !isOver) setOver(true);
  return (
    <Panel
      title={
        <a class="mono" href={`/runs/${encodeURIComponent(id)}`}>
          {id}
        </a>
      }
      side={run.data && <Badge state={run.data.state} />}
    >
      <Loaded live={run}>
        {({ waitsFor, createdAt, finishedAt, tokensUsed, costUsd, unpriced, error }) => (
          <>
            {error && <Fault error={error as unknown as Error} />}
            <Facts
              of={[
                ["Waits for", waitsFor.join("; ")],
                ["Took", duration((millis(finishedAt) ?? Date.now()) - (millis(createdAt) ?? 0))],
                ["Tokens", count(tokensUsed.total)],
                ["Cost", unpriced > 0 && costUsd === 0 ? "unknown" : usd(costUsd)],
              ]}
            />
          </>
        )}
      </Loaded>
    </Panel>
  );
}

function WorkflowForm({
  name,
  schema,
  onStart,
}: {
  name: string;
  schema: Schema;
  onStart: (id: string) => void;
}) {
  const [input, setInput] = useState<unknown>(() => exampleOf(schema));
  const [fault, setFault] = useState<ApiError>();
  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setFault(undefined);
    try {
      const tags = ["playground"];
      onStart(
        (await post<{ id: string }>(`/api/workflows/${encodeURIComponent(name)}/runs`, { input, tags })).id,
      );
    } catch (error) {
      setFault(error as ApiError);
    }
  }
  return (
    <form onSubmit={(event) => void submit(event as unknown as SubmitEvent)}>
      <SchemaForm schema={schema} value={input} onChange={setInput} />
      {fault && <Fault error={fault} />}
      <p>
        <small class="muted">
          It is a run like any other, with the tag “playground”; its calls are paid.
        </small>
      </p>
      <div class="buttons">
        <button type="submit" class="primary">
          Start it
        </button>
      </div>
    </form>
  );
}
