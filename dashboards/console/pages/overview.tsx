import { count, short } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Empty, Loaded, Meter, Panel } from "../parts/basic.tsx";
import { Table } from "../parts/table.tsx";
import type { ListedRun, Page, Queue } from "../types.ts";
import { isModelQueue } from "./limits.tsx";
import { COLUMNS as RUN_COLUMNS } from "./runs.tsx";

interface Problem {
  tone: "warn" | "bad";
  what: string;
  why: string;
  href: string;
}

/** One glance: whether all is well, and if not, what is not and why. */
export function OverviewPage() {
  const queues = useLive<{ data: Queue[] }>("/api/queues", 2000);
  const runs = useLive<Page<ListedRun>>("/api/run-search?limit=8", 2000);
  const all = queues.data?.data ?? [];
  const problems = all.flatMap(problemsOf);
  return (
    <>
      <div class="head">
        <h1>Overview</h1>
      </div>
      {queues.data && <Verdict problems={problems} queues={all} />}
      <Loaded live={queues}>
        {({ data }) => (
          <>
            <Tiles queues={data} />
            <div class="grid">
              {problems.length > 0 && <Problems of={problems} />}
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
    return [problem("bad", `${count(due)} jobs wait, and no worker can run them`)];
  if (pausedByOperator) return [problem("warn", `an operator paused it; ${count(due)} jobs wait`)];
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
  const text = { ok: "All is well.", warn: "Something is held up.", bad: "Something is wrong." }[tone];
  const rest =
    tone === "ok"
      ? active > 0
        ? `${count(active)} jobs at work.`
        : "Nothing is at work."
      : `${problems.length} of ${queues.length} queues, see below.`;
  return (
    <p class={`verdict ${tone}`} role="status">
      <b>{text}</b> {rest}
    </p>
  );
}

function Tiles({ queues }: { queues: readonly Queue[] }) {
  const sum = (of: (queue: Queue) => number) => queues.reduce((total, queue) => total + of(queue), 0);
  const models = queues.filter(isModelQueue);
  const tokens = models.reduce((total, { used }) => total + used.tokens, 0);
  return (
    <div class="tiles">
      <Tile value={count(sum(({ counts }) => counts.active))} name="jobs at work" href="/jobs?state=active" />
      <Tile value={count(sum(({ counts }) => counts.waiting))} name="waiting" href="/jobs?state=waiting" />
      <Tile value={count(sum(({ counts }) => counts.delayed))} name="delayed" href="/jobs?state=delayed" />
      <Tile value={count(sum(({ counts }) => counts.failed))} name="failed, kept" href="/jobs?state=failed" />
      <Tile value={short(tokens)} name="tokens in the last minute" href="/limits" />
      <Tile
        value={count(models.reduce((total, { used }) => total + used.rateLimited, 0))}
        name="429s in the last minute"
        href="/limits"
      />
    </div>
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
            <Badge state={tone === "bad" ? "failing" : "held up"} tone={tone} />
            <span class="what">
              <a href={href}>{what}</a> {why}
            </span>
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
  const waiting = queues.filter(({ counts }) => counts.waiting + counts.delayed > 0);
  return (
    <Panel title="What waits">
      {waiting.length === 0 && <Empty>Nothing waits.</Empty>}
      <ul class="list">
        {waiting.map(({ queue, key, counts, waitsFor }) => (
          <li key={queue}>
            <span class="what">
              <a href={`/jobs?queue=${encodeURIComponent(queue)}`}>{key}</a>{" "}
              <span class="muted">{waitsFor.join("; ") || "for their turn"}</span>
            </span>
            <span>
              {count(counts.waiting)} waiting, {count(counts.delayed)} delayed
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
