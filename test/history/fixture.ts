import type { RowOf, Rows } from "../../src/history/tables.ts";

/** Of the newest row; all others are before it. */
export const FIXTURE_END = Date.UTC(2026, 10, 29, 12);
const HOUR_MS = 3_600_000;

const MODELS = ["openai:gpt-4o-mini", "anthropic:claude-x", "Openai:Zeta", "openai:äpfel", "a b:c"];
const TENANTS = ["default", "acme", "Zulu", "été"];
const CODES = ["timeout", "rate_limited", "Zeta", "invalid_request"];
const STATES = ["succeeded", "failed", "cancelled"];

/** Rows of three days, the same each time: odd texts, absent figures, ties. */
export function fixtureRows(): Rows {
  const random = mulberry(7);
  const pick = <T>(of: readonly T[]) => of[Math.floor(random() * of.length)] as T;
  const upTo = (n: number) => Math.floor(random() * n);
  const calls: RowOf<"calls">[] = [];
  const jobs: RowOf<"jobs">[] = [];
  const errors: RowOf<"errors">[] = [];
  for (let n = 0; n < 300; n++) {
    const endedAt = FIXTURE_END - 1 - upTo(72) * HOUR_MS - upTo(1000);
    const code = upTo(5) === 0 ? pick(CODES) : null;
    const shared = { tenant: pick(TENANTS), model: pick(MODELS), ended_at: endedAt, error_code: code };
    const tokens = { prompt_tokens: upTo(5000), cached_tokens: upTo(3) * 10, completion_tokens: upTo(900) };
    const cost = { cost_microusd: upTo(7) === 0 ? null : upTo(90_000) };
    const figures = { ...tokens, ...cost, latency_ms: upTo(40) * 100, from_cache: upTo(6) === 0 ? 1 : 0 };
    const place = { batch_id: upTo(2) ? `batch_${upTo(3)}` : null, run_id: null, version: endedAt };
    calls.push({
      ...{
        id: `job-${n}/0`,
        job_id: `job-${n}`,
        provider: "openai",
        lane: "online",
        ...shared,
        ...figures,
        ...place,
      },
      queue_wait_ms: upTo(4) === 0 ? null : upTo(3000),
      budget_wait_ms: upTo(2) === 0 ? null : upTo(50),
      first_token_ms: upTo(3) === 0 ? upTo(800) : null,
      attempts: 1,
    });
    jobs.push({
      ...{
        id: `job-${n}`,
        queue: "q",
        state: code ? "failed" : "succeeded",
        ...shared,
        ...figures,
        ...place,
      },
      ...{ attempts: 1, calls: 1, created_at: endedAt - 50, custom_id: `row-${n % 50}` },
      prompt: n === 7 ? "what is <b>50% of 'x'\\y\0?" : "hello",
      answer: upTo(3) ? `answer ${n}` : null,
    });
    if (code)
      errors.push({
        ...{ id: `job-${n}/${endedAt}`, tenant: shared.tenant, source: "job", source_id: `job-${n}` },
        ...{ subject: shared.model, at: endedAt, code, category: "x", message: `it failed: ${code}` },
        ...{ attempts: 3, version: endedAt },
      });
  }
  const runs: RowOf<"runs">[] = [];
  const steps: RowOf<"steps">[] = [];
  for (let n = 0; n < 40; n++) {
    const startedAt = FIXTURE_END - 1 - upTo(60) * HOUR_MS;
    const endedAt = startedAt + upTo(30) * 1000;
    const whole = { tenant: pick(TENANTS), workflow: pick(["debate", "Pipeline", "été"]) };
    runs.push({
      ...{ id: `run-${n}`, ...whole, workflow_version: 1, state: pick(STATES), tags: '["a"]', retries: 0 },
      ...{ started_at: startedAt, ended_at: endedAt, prompt_tokens: upTo(99), completion_tokens: upTo(99) },
      ...{ cost_microusd: upTo(9999), unpriced: upTo(2), parent_run_id: upTo(4) ? null : "run-0" },
      ...{ updated_at: endedAt, version: endedAt },
    });
    for (const step of ["b", "a", "Z"])
      steps.push({
        ...{ run_id: `run-${n}`, step, ...whole, kind: "completion", subject: "m", state: "succeeded" },
        ...{ started_at: startedAt + upTo(3), ended_at: endedAt, prompt_tokens: 1, completion_tokens: 2 },
        ...{ cost_microusd: upTo(50), reused: upTo(2), updated_at: endedAt, version: endedAt },
      });
  }
  const batches = [0, 1, 2].map((n): RowOf<"batches"> => {
    const createdAt = FIXTURE_END - 1 - n * 30 * HOUR_MS;
    return {
      ...{
        id: `batch_${n}`,
        tenant: TENANTS[n],
        state: "completed",
        input: "IN.jsonl",
        created_at: createdAt,
      },
      ...{ ended_at: createdAt, total: 10, succeeded: 9, failed: 1, retries: 2, cache_hits: 0 },
      ...{ prompt_tokens: 5, cached_tokens: 0, completion_tokens: 5, cost_microusd: 12, unpriced: 0 },
      ...{ limit_microusd: n === 0 ? null : 99, updated_at: createdAt, version: createdAt },
    };
  });
  return { jobs, calls, batches, runs, steps, errors };
}

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
