import { readErrorReport } from "../../producers/error-report.ts";
import type { QueueState } from "../../producers/queue-states.ts";
import { count, counted } from "../../shared/counted.ts";
import { listBatches, viewBatch } from "../../store/batch.ts";
import { outboxLags } from "../../store/outbox-lag.ts";
import { stalledJobs } from "../../store/stalled-jobs.ts";
import type { Store } from "../../store/store.ts";
import { durationText } from "../step-tree.ts";
import { type CheckGroup, type Finding, fail, ok, warn, worst } from "./check.ts";
import type { FleetSeen } from "./provider-checks.ts";

const DAY_MS = 86_400_000;
const LAG = { entries: 1000, ms: 300_000 };
const SLOW_LOOP_MS = 200;
const CLOCK_MS = 5000;
/** What workers write on jobs that none of them can run. */
const NOBODY =
  /^workers lack |^a worker with |^needs a worker |provider entry ".*" is (?:unknown to|set up differently on)/;
const OPEN = new Set(["validating", "in_progress", "finalizing", "cancelling"]);
const MAX_BATCHES = 100;

/** Who works, and what waits for somebody. */
export function workChecks(store: Store, { states, cards }: FleetSeen): CheckGroup {
  return {
    name: "Work",
    checks: [
      { name: "workers", run: () => workers({ states, cards }) },
      { name: "jobs nobody can run", run: () => stranded(states) },
      { name: "stalled jobs", run: () => stalled(store, { states, cards }) },
      { name: "pauses", run: () => pauses(states) },
      { name: "failed jobs", run: () => failures(store, states) },
      { name: "batches", run: () => batches(store) },
      { name: "history and webhooks", run: () => lags(store) },
    ],
  };
}

function workers({ states, cards }: FleetSeen): Finding {
  const waiting = states.reduce((sum, { counts }) => sum + counts.waiting, 0);
  if (cards.length === 0) {
    if (waiting === 0)
      return ok("none runs, and nothing waits; a client without GLUELLM_REDIS_URL works by itself");
    return fail(`none runs; waiting: ${counted(waiting, "job")}`, "gluellm worker");
  }
  const who = ({ host, pid }: { host: string; pid: number }) => `${host}:${pid}`;
  const findings = cards.flatMap((card): Finding[] => {
    const { lagMs = 0, clockAheadMs = 0 } = card.process ?? {};
    return [
      ...(card.isMemoryLow
        ? [
            warn(
              `${who(card)} is short of memory and takes no jobs`,
              "give it more memory, or lower GLUELLM_WORKER_CONCURRENCY",
            ),
          ]
        : []),
      ...(lagMs > SLOW_LOOP_MS
        ? [
            warn(
              `${who(card)} is late by ${Math.round(lagMs)} ms`,
              "start more workers, or move heavy tools out of them",
            ),
          ]
        : []),
      ...(Math.abs(clockAheadMs) > CLOCK_MS
        ? [
            warn(
              `the clock of ${who(card)} is ${Math.round(Math.abs(clockAheadMs) / 1000)} s ${clockAheadMs > 0 ? "ahead" : "behind"}`,
              "check NTP there",
            ),
          ]
        : []),
    ];
  });
  const versions = [...new Set(cards.flatMap(({ process }) => process?.version ?? []))];
  return worst(
    findings,
    `${count(cards.length)}${versions.length > 0 ? `, version ${versions.join(" and ")}` : ""}`,
  );
}

function stranded(states: readonly QueueState[]): Finding {
  const findings = states.flatMap(({ key, counts, workers, waitsFor }): Finding[] => {
    const waiting = counts.waiting + counts.delayed;
    const reasons = waitsFor.filter((reason) => NOBODY.test(reason));
    if (waiting === 0 || (workers > 0 && reasons.length === 0)) return [];
    const seen = `${key}: ${counted(waiting, "job")} waiting for ${reasons.join("; ") || "a worker"}`;
    return [
      fail(
        seen,
        "start a worker that has it (gluellm worker --module FILE, with the provider's key); gluellm workers says what each can run",
      ),
    ];
  });
  return worst(findings, "none");
}

async function stalled(store: Store, { states, cards }: FleetSeen): Promise<Finding> {
  const active = states.filter(({ counts }) => counts.active > 0).map(({ queue }) => queue);
  const found = await stalledJobs(store, active);
  if (found.length === 0) return ok("none");
  const jobs = found.reduce((sum, { jobs }) => sum + jobs, 0);
  const seen = `${counted(jobs, "job")} of ${found.map(({ queue }) => queue).join(", ")} without the worker that had it`;
  if (cards.length === 0) return fail(seen, "gluellm worker takes them up");
  return warn(seen, "living workers take them up within 15 s; run gluellm doctor again");
}

function pauses(states: readonly QueueState[]): Finding {
  const findings = states.flatMap(({ key, counts, pausedByOperator, breaker, longPause }): Finding[] => {
    const waits = `${key}, ${counted(counts.waiting + counts.delayed, "job")} waiting`;
    const resume = `gluellm queues resume ${key}`;
    if (pausedByOperator) return [warn(`${waits}: an operator paused it`, resume)];
    if (breaker.state !== "closed")
      return [
        warn(
          `${waits}: its provider failed ${breaker.failures} of ${breaker.calls} calls`,
          "gluellm errors says how; it goes on by itself",
        ),
      ];
    if (longPause)
      return [
        warn(
          `${waits}: its provider asked for a pause until ${new Date(longPause.until).toISOString()}`,
          resume,
        ),
      ];
    return [];
  });
  return worst(findings, "none");
}

async function failures(store: Store, states: readonly QueueState[]): Promise<Finding> {
  const { failed, patterns, groups } = await readErrorReport(store, { since: new Date(Date.now() - DAY_MS) });
  const kept = states.reduce((sum, { counts }) => sum + counts.failed, 0);
  if (failed === 0)
    return ok(kept === 0 ? "none" : `none for a day; kept of older or cancelled ones: ${count(kept)}`);
  const [told = undefined] = patterns;
  const [first] = groups;
  const most = told?.text ?? (first ? `most are ${first.code} of ${first.model || "workflows"}` : "");
  return warn(`${count(failed)} in the last day${most ? `: ${most}` : ""}`, "gluellm errors --since 1d");
}

async function batches(store: Store): Promise<Finding> {
  const open = (await listBatches(store, MAX_BATCHES)).filter(({ status }) => OPEN.has(status));
  const views = await Promise.all(open.map(({ id }) => viewBatch(store, id)));
  const findings = views
    .filter(({ runner }) => !runner)
    .map(({ id, input, output, total, succeeded, failed }) =>
      warn(
        `${id} has ${counted(total - succeeded - failed, "row")} to go and nobody sends them`,
        output.endsWith(".jsonl") && input.endsWith(".jsonl") && !id.startsWith("batch_")
          ? `gluellm batch run ${input} -o ${output}`
          : `gluellm batch status ${id}; the same command goes on with it, and those of the API need gluellm api or gluellm worker`,
      ),
    );
  return worst(findings, open.length === 0 ? "none open" : `${count(open.length)} open, each with a host`);
}

async function lags(store: Store): Promise<Finding> {
  const lagging = await outboxLags(store);
  const findings = lagging.flatMap(({ name, entries, oldestMs }): Finding[] => {
    if (entries < LAG.entries && oldestMs < LAG.ms) return [];
    const needed = {
      history: ", with GLUELLM_HISTORY=true",
      audit: ", with GLUELLM_AUDIT_KEY",
      webhooks: "",
    };
    const who = `gluellm worker or gluellm up${needed[name]}`;
    return [
      warn(
        `${name} is ${counted(entries, "event")} behind, the oldest ${durationText(oldestMs)} old`,
        `start a process that takes them: ${who}; its log says what is wrong`,
      ),
    ];
  });
  const told = lagging.map(
    ({ name, entries }) => `${name} ${entries === 0 ? "up to date" : `${counted(entries, "event")} behind`}`,
  );
  return worst(findings, told.join(", ") || "nobody asks for them");
}
