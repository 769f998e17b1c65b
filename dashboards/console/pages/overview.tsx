import { withQuery } from "../api.ts";
import { count, counted, duration, short, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Empty, Loaded, Meter, Panel } from "../parts/basic.tsx";
import { Table } from "../parts/table.tsx";
import type { ErrorGroup, ErrorReport } from "../report-types.ts";
import type { Batch, ListedRun, Page, Queue, Worker } from "../types.ts";
import { OPEN_STATES } from "./batch-actions.tsx";
import { Rows } from "./batches.tsx";
import { isModelQueue } from "./limits.tsx";
import { COLUMNS as RUN_COLUMNS } from "./runs.tsx";
import { worriesOf } from "./workers.tsx";

interface Problem {
  tone: "warn" | "bad";
  what: string;
  why: string;
  href: string;
}

/** One glance: whether all is well, and if not, what is not and why. */
export function OverviewPage() {
  const queues = useLive<{ data: Queue[] }>("/api/queues", 2000, { ticks: true });
  const runs = useLive<Page<ListedRun>>("/api/run-search?limit=8", 2000);
  const workers = useLive<{ data: Worker[] }>("/api/workers", 5000, { ticks: true });
  const batches = useLive<Page<Batch>>("/api/batches?limit=10", 3000);
  const today = useLive<ErrorReport>(withQuery("/api/errors", { since: midnight(), by: "model" }), 5000);
  const all = queues.data?.data ?? [];
  const problems = [
    ...all.flatMap(problemsOf),
    ...(today.data?.groups.flatMap((group) => failingModel(group)) ?? []),
    ...(workers.data?.data.flatMap(worryOf) ?? []),
  ];
  const open = batches.data?.data.filter(({ state }) => OPEN_STATES.includes(state)) ?? [];
  return (
    <>
      <div class="head">
        <h1>Overview</h1>
      </div>
      {queues.data && <Verdict problems={problems} queues={all} />}
      <Loaded live={queues}>
        {({ data }) => (
          <>
            <Tiles queues={data} workers={workers.data?.data} today={today.data} />
            <div class="grid">
              {problems.length > 0 && <Problems of={problems} />}
              {open.length > 0 && <Batches of={open} />}
              <Models queues={data.filter(isModelQueue)} />
              <Waiting queues={data} />
            </div>
          </>
        )}
      </Loaded>
      <Panel title={<a href="/runs">Latest runs</a>}>
        <Loaded live={runs}>
          {({ data }) => (
            <Table
              label="Latest runs"
              columns={RUN_COLUMNS}
              rows={data}
              keyOf={({ id }) => id}
              hrefOf={({ id }) => `/runs/${encodeURIComponent(id)}`}
              isFailed={({ state }) => state === "failed"}
              empty="No runs yet."
            />
          )}
        </Loaded>
      </Panel>
    </>
  );
}

function midnight(): string {
  return `${new Date().toISOString().slice(0, 10)}T00:00:00Z`;
}

/** At least so many failures make a model a failing one. */
const MIN_FAILED = 5;

function failingModel({ model = "", failed, failedCalls }: ErrorGroup): Problem[] {
  if (failed < MIN_FAILED) return [];
  return [
    {
      tone: "warn",
      what: model,
      why: `${counted(failed, "job")} failed today, ${counted(failedCalls, "call")} did`,
      href: "/errors?hours=24",
    },
  ];
}

function worryOf(worker: Worker): Problem[] {
  const worries = worriesOf(worker);
  if (worries.length === 0) return [];
  return [{ tone: "warn", what: `${worker.host}:${worker.pid}`, why: worries.join("; "), href: "/workers" }];
}

function problemsOf(queue: Queue): Problem[] {
  const { key, counts, breaker, workers, pausedByOperator, longPause } = queue;
  const due = counts.waiting + counts.delayed;
  const href = isModelQueue(queue) ? "/limits" : "/runs?state=running";
  const problem = (tone: Problem["tone"], why: string): Problem => ({ tone, what: key, why, href });
  if (breaker.state !== "closed")
    return [
      problem(
        "bad",
        `the provider failed ${breaker.failures} of ${breaker.calls} calls: the circuit breaker is open`,
      ),
    ];
  if (workers === 0 && due > 0)
    return [
      problem("bad", `${counted(due, "job")} ${due === 1 ? "waits" : "wait"}, and no worker can run them`),
    ];
  if (pausedByOperator)
    return [problem("warn", `an operator paused it; ${counted(due, "job")} ${due === 1 ? "waits" : "wait"}`)];
  if (longPause) return [problem("warn", `the provider asked for a pause: ${longPause.reason}`)];
  return [];
}

function Verdict({ problems, queues }: { problems: readonly Problem[]; queues: readonly Queue[] }) {
  const tone = problems.some((problem) => problem.tone === "bad")
    ? "bad"
    : problems.length > 0
      ? "warn"
      : "ok";
  const active = queues.reduce((sum, { counts }) => sum + counts.active, 0);
  const text = { ok: "All is well.", warn: "Something needs a look.", bad: "Something is wrong." }[tone];
  const rest =
    tone === "ok"
      ? active > 0
        ? `${counted(active, "job")} at work.`
        : "Nothing is at work."
      : problems.length === 1
        ? `${problems[0]?.what}: ${problems[0]?.why}.`
        : `${problems.length} things, see below.`;
  return (
    <p class={`verdict ${tone}`} role="status">
      <b>{text}</b> {rest}
    </p>
  );
}

interface TilesProps {
  queues: readonly Queue[];
  workers: readonly Worker[] | undefined;
  today: ErrorReport | undefined;
}

function Tiles({ queues, workers, today }: TilesProps) {
  const sum = (of: (queue: Queue) => number) => queues.reduce((total, queue) => total + of(queue), 0);
  const models = queues.filter(isModelQueue);
  const tokens = models.reduce((total, { used }) => total + used.tokens, 0);
  const limited = models.reduce((total, { used }) => total + used.rateLimited, 0);
  const oldest = Math.max(-1, ...queues.map(({ oldestMs }) => oldestMs ?? -1));
  const waiting = sum(({ counts }) => counts.waiting);
  return (
    <div class="tiles">
      {today?.spentUsd !== undefined && <Spend today={today} spentUsd={today.spentUsd} />}
      <Tile value={count(sum(({ counts }) => counts.active))} name="jobs at work" href="/jobs?state=active" />
      <Tile
        value={count(waiting)}
        name={oldest >= 0 ? `waiting, the oldest ${duration(oldest)}` : "waiting"}
        href="/jobs?state=waiting"
      />
      <Tile value={count(sum(({ counts }) => counts.delayed))} name="delayed" href="/jobs?state=delayed" />
      {today && (
        <Tile
          value={count(today.failed)}
          name={`failed today, of ${count(today.failed + today.succeeded)}`}
          href="/errors?hours=24"
        />
      )}
      <Tile
        value={short(tokens)}
        name={`tokens a minute${limited > 0 ? `, ${count(limited)} 429s` : ""}`}
        href="/limits"
      />
      {workers && <Tile value={count(workers.length)} name="workers alive" href="/workers" />}
    </div>
  );
}

const DAY_MS = 86_400_000;

/** What today cost, and what it will have cost at this pace; days are of UTC. */
function Spend({ today, spentUsd }: { today: ErrorReport; spentUsd: number }) {
  const { since, until, succeeded } = today;
  // A sum of known costs that is 0 is no bill of $0: calls of models without a price are not in it.
  if (spentUsd === 0 && succeeded > 0)
    return <Tile value="–" name="today: no price known, or nothing paid" href="/spend" />;
  const passedMs = Math.max(1, Date.parse(until) - Date.parse(since));
  return (
    <Tile
      value={usd(spentUsd)}
      name={`today, ${usd((spentUsd * DAY_MS) / Math.min(DAY_MS, passedMs))} by midnight`}
      href="/spend"
    />
  );
}

function Tile({ value, name, href }: { value: string; name: string; href: string }) {
  return (
    <a class="tile" href={href}>
      <b>{value}</b>
      <span>{name}</span>
    </a>
  );
}

function Problems({ of }: { of: readonly Problem[] }) {
  return (
    <Panel title="What is not well">
      <ul class="list">
        {of.map(({ what, why, tone, href }) => (
          <li key={what}>
            <Badge state={tone === "bad" ? "wrong" : "look"} tone={tone} />
            <span class="what">
              <a href={href}>{what}</a> {why}
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Batches({ of }: { of: readonly Batch[] }) {
  return (
    <Panel title={<a href="/batches">Batches under way</a>}>
      <ul class="list">
        {of.map((batch) => (
          <li key={batch.id}>
            <Badge state={batch.state} />
            <span class="what">
              <a class="mono" href={`/batches/${encodeURIComponent(batch.id)}`}>
                {batch.id}
              </a>
            </span>
            <Rows batch={batch} />
            <span class="muted">{batch.etaMs === null ? "" : `ends in ${duration(batch.etaMs)}`}</span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Models({ queues }: { queues: readonly Queue[] }) {
  return (
    <Panel title={<a href="/limits">Tokens a minute against limits</a>}>
      {queues.length === 0 && <Empty>No model has had a job yet.</Empty>}
      <ul class="list">
        {queues.map(({ queue, key, used, limits }) => (
          <li key={queue}>
            <span class="what">{key}</span>
            <Meter part={used.tokens} whole={limits.tpm?.perMinute} label={`tokens a minute of ${key}`}>
              {short(used.tokens)}
              {limits.tpm && ` of ${short(limits.tpm.perMinute)}`}
            </Meter>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

/** What waits for what, and why. */
function Waiting({ queues }: { queues: readonly Queue[] }) {
  // The next ticks of schedules wait for their times.
  const waiting = queues.filter(
    ({ queue, counts }) => queue !== "schedules" && counts.waiting + counts.delayed > 0,
  );
  return (
    <Panel title="What waits">
      {waiting.length === 0 && <Empty>Nothing waits.</Empty>}
      <ul class="list">
        {waiting.map(({ queue, key, counts, waitsFor, oldestMs }) => (
          <li key={queue}>
            <span class="what">
              <a href={`/jobs?queue=${encodeURIComponent(queue)}`}>{key}</a>{" "}
              <span class="muted">
                {waitsFor.join("; ") || (counts.waiting > 0 ? "for their turn" : "for their time")}
              </span>
            </span>
            <span>
              {count(counts.waiting)} waiting{oldestMs !== null && ` for up to ${duration(oldestMs)}`},{" "}
              {count(counts.delayed)} delayed
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
