/** Seconds of provider calls and whole jobs: from a cached answer to a long piece of reasoning. */
const CALL_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600] as const;
/** Seconds of what may wait for a day. */
const WAIT_SECONDS = [0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400] as const;

export interface Instrument {
  kind: "counter" | "histogram";
  help: string;
  labels: readonly string[];
  /** Of a histogram: upper bounds. */
  buckets?: readonly number[];
  /** Its name at OpenTelemetry's meter, where the GenAI conventions have one for it; else its own with dots. */
  otel?: string;
}

/**
 * What a process counts of its own work, by the name at Prometheus. A sum over all processes is that of the fleet. No label ever
 * holds an id, a text of a request or an address.
 */
export const INSTRUMENTS = {
  gluellm_jobs_total: counter("Jobs that ended, by what became of them.", [
    "queue",
    "class",
    "status",
    "code",
  ]),
  gluellm_tenant_jobs_total: counter("Jobs of models that ended, by tenant.", ["tenant", "status"]),
  gluellm_job_attempts_total: counter("Attempts at jobs, by verdict.", ["queue", "verdict"]),
  gluellm_job_wait_seconds: histogram(
    "From the time at which a job might begin to its first attempt.",
    ["queue", "class"],
    WAIT_SECONDS,
  ),
  gluellm_job_duration_seconds: histogram(
    "From the time at which a job might begin to its end.",
    ["queue", "class", "status"],
    WAIT_SECONDS,
  ),
  gluellm_provider_requests_total: counter("Calls of providers, by how they ended.", [
    "provider",
    "model",
    "agent",
    "status",
    "code",
  ]),
  gluellm_provider_request_duration_seconds: {
    ...histogram(
      "From the sending of a call to its whole answer.",
      ["provider", "model", "status"],
      CALL_SECONDS,
    ),
    otel: "gen_ai.client.inference.duration",
  },
  gluellm_time_to_first_token_seconds: {
    ...histogram(
      "From the sending of a streamed call to the first piece.",
      ["provider", "model"],
      CALL_SECONDS,
    ),
    otel: "gen_ai.client.inference.time_to_first_chunk",
  },
  gluellm_tokens_total: counter(
    "Tokens that providers charged: input, output; of the input those read from a provider's cache (cached).",
    ["provider", "model", "agent", "kind"],
  ),
  gluellm_cost_usd_total: counter("USD of the calls, by the price list.", [
    "provider",
    "model",
    "agent",
    "tenant",
  ]),
  gluellm_unpriced_calls_total: counter("Paid calls whose model has no price.", ["provider", "model"]),
  gluellm_budget_wait_seconds: histogram(
    "What a call waited in this process for its budget.",
    ["provider", "model"],
    WAIT_SECONDS,
  ),
  gluellm_cache_requests_total: counter(
    "Looks into the cache: hit, miss, or shared with an equal call under way.",
    ["kind", "outcome"],
  ),
  gluellm_paid_calls_reused_total: counter(
    "Paid answers that a later attempt found instead of paying again: in a record or a journal.",
    ["reason"],
  ),
  gluellm_tool_calls_total: counter("Calls of tools.", ["tool", "status"]),
  gluellm_guardrail_checks_total: counter(
    "Looks of guardrails, by what they said; in shadow nothing follows.",
    [...["guardrail", "stage", "action", "mode"]],
  ),
  gluellm_tool_duration_seconds: {
    ...histogram("How long tools took.", ["tool", "status"], CALL_SECONDS),
    otel: "gen_ai.execute_tool.duration",
  },
  gluellm_agent_executions_total: counter("Jobs of agents that ended.", ["agent", "status"]),
  gluellm_agent_duration_seconds: {
    ...histogram("From an agent's first attempt to its answer.", ["agent", "status"], CALL_SECONDS),
    otel: "gen_ai.invoke_agent.duration",
  },
  gluellm_workflow_executions_total: counter("Runs of workflows that ended.", ["workflow", "status"]),
  gluellm_workflow_duration_seconds: histogram(
    "From a run's start to its end.",
    ["workflow", "status"],
    WAIT_SECONDS,
  ),
  gluellm_workflow_steps_total: counter("Steps that runs asked for.", ["workflow", "kind"]),
  gluellm_http_requests_total: counter("Requests to the API, by the route's template.", [
    "method",
    "route",
    "status",
  ]),
  gluellm_http_request_duration_seconds: histogram(
    "How long requests to the API took.",
    ["method", "route"],
    CALL_SECONDS,
  ),
} satisfies Record<string, Instrument>;

export type InstrumentName = keyof typeof INSTRUMENTS;
export type Labels = Readonly<Record<string, string>>;

/** What a process reads off itself when it is asked. */
export const PROCESS_GAUGES = {
  gluellm_active_jobs: gauge("Jobs of models that this process has.", []),
  gluellm_budget_waiting: gauge("Calls of this process that wait for a budget.", ["budget"]),
  gluellm_http_pool_connections: gauge("Connections and calls of the pools to providers.", [
    "provider",
    "state",
  ]),
  gluellm_resource_pool: gauge(
    "Resources of the pools that have a name, connections to MCP servers among them: in_use, idle; and callers that wait for one (waiting).",
    ["pool", "state"],
  ),
  gluellm_resource_pool_events: gauge(
    "What became of their resources since the pool was made: created, destroyed, failed_check, failed_create.",
    ["pool", "event"],
  ),
} as const;

/** What one process reads of the whole fleet when it is asked. */
export const FLEET_GAUGES = {
  gluellm_queue_jobs: gauge(
    "Jobs of a queue by state; failed ones are the dead letters, and what was cancelled.",
    ["queue", "state"],
  ),
  gluellm_queue_oldest_seconds: gauge(
    "Age of the oldest job that waits, put back ones that no worker can run among them.",
    ["queue"],
  ),
  gluellm_queue_paused: gauge("1 while an operator has paused the queue.", ["queue"]),
  gluellm_queue_pause_seconds: gauge("What is left of a pause that the provider asked for.", ["queue"]),
  gluellm_active_workflows: gauge("Runs that have not ended.", ["workflow"]),
  gluellm_budget_limit: gauge("Limits in force per minute: rpm, tpm, itpm, otpm.", [
    "provider",
    "model",
    "budget",
    "dimension",
  ]),
  gluellm_budget_used: gauge("What the fleet used in the last minute, by model.", [
    "provider",
    "model",
    "budget",
    "dimension",
  ]),
  gluellm_breaker_state: gauge("0 closed, 1 half-open, 2 open.", ["provider", "model"]),
  gluellm_batches: gauge("Batches under way.", []),
  gluellm_batch_rows: gauge("Rows of the batches under way.", ["state"]),
  gluellm_tenant_open_jobs: gauge("Jobs of a tenant that wait or run, without rows of batches.", ["tenant"]),
  gluellm_tenant_batch_rows: gauge("Rows of a tenant's batches under way that have not ended.", ["tenant"]),
  gluellm_tenant_limit: gauge(
    "Limits of a tenant: rpm, tpm, maxInFlight, maxQueuedJobs, maxCostUsdPerDay, maxCostUsdPerMonth.",
    ["tenant", "limit"],
  ),
  gluellm_tenant_used: gauge("What a tenant has of those that count jobs and USD.", ["tenant", "limit"]),
  gluellm_workers: gauge("Worker processes that are alive.", []),
  gluellm_wanted_workers: gauge("Worker processes that the queues of all models want, as /scale says.", []),
  gluellm_backlog_seconds: gauge("How long the jobs that wait would take one after the other.", []),
  gluellm_limit_bound: gauge(
    "1 while more workers would bring nothing: the providers' limits are the bound.",
    [],
  ),
  gluellm_spend_usd: gauge("USD that the fleet spent in the last hour and day.", ["window"]),
  gluellm_unreadable_jobs: gauge("Jobs that were set aside since they cannot be read.", []),
  gluellm_redis_memory_bytes: gauge("Memory that Redis uses.", []),
  gluellm_redis_memory_limit_bytes: gauge("Redis' maxmemory; 0 without one.", []),
} as const;

export type FleetGauge = keyof typeof FLEET_GAUGES;
export type ProcessGauge = keyof typeof PROCESS_GAUGES;

function counter(help: string, labels: readonly string[]): Instrument {
  return { kind: "counter", help, labels };
}

function histogram(help: string, labels: readonly string[], buckets: readonly number[]): Instrument {
  return { kind: "histogram", help, labels, buckets };
}

function gauge(help: string, labels: readonly string[]) {
  return { help, labels };
}
