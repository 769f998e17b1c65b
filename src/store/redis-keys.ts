/**
 * Returns every Redis key of a namespace. The hash tag keeps a namespace on one shard, so multi-key scripts and
 * BullMQ flows work on Redis Cluster. The table in ARCHITECTURE.md gives type, content and expiry of each.
 */
export function redisKeys(namespace: string) {
  return keysUnder(`{gluellm:${namespace}}`);
}

/** Returns the keys that begin with `prefix`, which should have a hash tag. */
export function keysUnder(prefix: string) {
  return {
    /** BullMQ's `prefix` option and the head of every key of ours. */
    prefix,
    /** Hash: queue name → JSON of what it is for. */
    queues: `${prefix}:queues`,
    /** Hash: the jobs that BullMQ cannot read (see `unreadable-jobs.ts`); and what there is of one of them. */
    unreadable: `${prefix}:unreadable`,
    unreadableJob: (name: string) => `${prefix}:unreadable:${name}`,
    result: (jobId: string) => `${prefix}:result:${jobId}`,
    /** Redis stream: pieces of the job's answer; the topic `stream:<jobId>` tells of new ones. */
    stream: (jobId: string) => `${prefix}:stream:${jobId}`,
    /** List: JSON of what a job of several calls has finished so far. */
    journal: (jobId: string) => `${prefix}:journal:${jobId}`,
    /** String: JSON of the tools that a set had (see `tool-list.ts`). */
    toolList: (sha256: string) => `${prefix}:tool-list:${sha256}`,
    /** Hash: a scope's questions; sorted set: by the time of their coming; their vector set (see `semantic-index.ts`). */
    semantic: (scope: string) => `${prefix}:semantic:${scope}`,
    semanticOrder: (scope: string) => `${prefix}:semantic:${scope}:order`,
    semanticVectors: (scope: string) => `${prefix}:semantic:${scope}:vectors`,
    /** Hash: sums of the semantic cache; list: pairs of questions with other answers (see `semantic-report.ts`). */
    semanticReport: `${prefix}:semantic-report`,
    semanticExamples: `${prefix}:semantic-report:examples`,
    /** Hash: what a suspended job waits for; sorted set: ids of jobs that somebody is asked about (see `job-waits.ts`). */
    waits: (jobId: string) => `${prefix}:waits:${jobId}`,
    approvals: `${prefix}:approvals`,
    /** Hash: the wrapped keys of the encryption (see `data-keys.ts`). */
    encryptionKeys: `${prefix}:encryption-keys`,
    blob: (sha256: string) => `${prefix}:blob:${sha256}`,
    /** String: JSON of the job id that stands under a caller's key, and of what it asks. */
    idempotency: (key: string, tenant?: string) =>
      `${prefix}:idempotency${tenant === undefined ? "" : `@${tenant}`}:${key}`,
    /** Hash: a conversation's turns and sums (see `conversation.ts`). */
    conversation: (id: string) => `${prefix}:conversation:${id}`,
    /** String: JSON of what was asked for a response of the API (see `response.ts`). */
    response: (id: string) => `${prefix}:response:${id}`,
    /** List: ids of jobs whose answers callers of the API may not have got (see `undelivered.ts`). */
    undelivered: (digest: string) => `${prefix}:undelivered:${digest}`,
    /** Sorted set: id of each key of the API by the time of its making; hash: the key (see `api-key.ts`). */
    apiKeys: `${prefix}:api-keys`,
    apiKey: (keyId: string) => `${prefix}:api-key:${keyId}`,
    /** Hash: what a key spends in a day or month by UTC, `2026-11-29` or `2026-11`. */
    apiKeyPeriod: (keyId: string, period: string) => `${prefix}:api-key:${keyId}:${period}`,
    /** String: JSON of a browser's login (see `session.ts`). */
    session: (digest: string) => `${prefix}:session:${digest}`,
    /** String: what CSRF tokens of users without a session are made of (see `session.ts`). */
    csrfSecret: `${prefix}:csrf-secret`,
    /** Hash: a user of single sign-on → JSON of the role (see `user.ts`). */
    users: `${prefix}:users`,
    /** Hash: what a file of the API is; sorted set: a tenant's files, by id; sorted set: file id by its expiry (see `file-record.ts`). */
    file: (id: string) => `${prefix}:file:${id}`,
    files: (tenant: string) => `${prefix}:files:${tenant}`,
    fileExpiries: `${prefix}:file-expiries`,
    /** Sorted set: batch id by creation time. */
    batches: `${prefix}:batches`,
    batch: (batchId: string) => `${prefix}:batch:${batchId}`,
    batchDone: (batchId: string) => `${prefix}:batch:${batchId}:done`,
    /** Hashes: what a batch has bought in provider batches (see `lane-buy.ts`). */
    laneBuys: (batchId: string) => `${prefix}:batch:${batchId}:lanes`,
    laneRows: (batchId: string) => `${prefix}:batch:${batchId}:lane-rows`,
    /** Hash: calls of jobs that are to be bought in provider batches of an entry (see `lane-call.ts`). */
    laneCalls: (entry: string) => `${prefix}:lane-calls:${entry}`,
    /** Hash: those that were told, whose jobs are to be woken. */
    laneTold: (entry: string) => `${prefix}:lane-told:${entry}`,
    /** Strings: the request of such a call; what was brought for it. */
    laneRequest: (callId: string) => `${prefix}:lane-request:${callId}`,
    laneAnswer: (callId: string) => `${prefix}:lane-answer:${callId}`,
    /** Hash: `entry:model` → JSON of how long its latest provider batches took. */
    laneDurations: `${prefix}:lane-durations`,
    /** Hash: `entry:model` → JSON of how many tokens may wait in its provider batches. */
    lanePools: `${prefix}:lane-pools`,
    batchLease: (batchId: string) => `${prefix}:batch:${batchId}:lease`,
    /** Hash: a batch of the API; sorted sets: a tenant's, by id, and those that have not ended (see `served-batch.ts`). */
    servedBatch: (id: string) => `${prefix}:served-batch:${id}`,
    servedBatches: (tenant: string) => `${prefix}:served-batches:${tenant}`,
    openServedBatches: `${prefix}:served-batches-open`,
    /** Hash: what a job with a cost limit may spend and has spent. */
    jobCost: (jobId: string) => `${prefix}:cost:${jobId}`,
    /** Hash, beside that of a cost limit: job id → what is held for its call. */
    reserved: (ledger: string) => `${ledger}:reserved`,
    /** Sorted set: run id by the time of its start. */
    workflowRuns: `${prefix}:workflow-runs`,
    /** Sorted set: id of each run with a deadline of its own that has not ended, by that deadline. */
    workflowDeadlines: `${prefix}:workflow-deadlines`,
    /** String: held by the process that looks for overdue runs. */
    workflowSweep: `${prefix}:workflow-sweep`,
    /** String: held by the process that removes ended jobs. */
    retentionSweep: `${prefix}:retention-sweep`,
    /** String: written when what ended of tenants with a retention of their own was removed. */
    tenantSweep: `${prefix}:tenant-sweep`,
    /** Hash: `workflow@version` → when a worker last had it. */
    workflowVersions: `${prefix}:workflow-versions`,
    workflowSignalSchemas: `${prefix}:workflow-signals`,
    /** Hash: what a run is and how it stands. */
    workflow: (runId: string) => `${prefix}:workflow:${runId}`,
    /** List: what happened in a run, in the order in which its function sees it. */
    workflowJournal: (runId: string) => `${prefix}:workflow:${runId}:journal`,
    /** Set: ids of signals that a run has. */
    workflowSignals: (runId: string) => `${prefix}:workflow:${runId}:signals`,
    /** Set: the same of earlier parts of a run that went on as new. */
    workflowEarlierSignals: (runId: string) => `${prefix}:workflow:${runId}:earlier-signals`,
    /** What there is of a limit of a workflow (see `run-limits.ts`). */
    workflowLimit: (name: string, part: "holders" | "waiting" | "starts" | "run") =>
      `${prefix}:workflow-limit:${name}:${part}`,
    /** Hash: limit of concurrency that runs may wait for → how many places it has. */
    workflowLimits: `${prefix}:workflow-limits`,
    /** Hash: what has happened to an activity of a run (see `activity.ts`). */
    activity: (jobId: string) => `${prefix}:activity:${jobId}`,
    /** Sorted set: schedule id by its creation. */
    schedules: `${prefix}:schedules`,
    /** Hash: what a schedule is and how it stands (see `schedule.ts`). */
    schedule: (id: string) => `${prefix}:schedule:${id}`,
    /** Sorted set: planned times of ticks that wait for an earlier run. */
    scheduleWaiting: (id: string) => `${prefix}:schedule:${id}:waiting`,
    /** Hash: the runs that a schedule has begun and that have not ended. */
    scheduleOpen: (id: string) => `${prefix}:schedule:${id}:open`,
    /** List: what became of its latest ticks (JSON). */
    scheduleTicks: (id: string) => `${prefix}:schedule:${id}:ticks`,
    /** String: held by the process that looks whether schedules tick. */
    scheduleSweep: `${prefix}:schedule-sweep`,
    /** Hash: who reads what has become final; streams of it (see `outbox.ts`). */
    outbox: `${prefix}:outbox`,
    outboxHistory: `${prefix}:outbox:history`,
    /** String: held by the process that writes the history. */
    outboxHistoryLease: `${prefix}:outbox:history:lease`,
    outboxWebhooks: `${prefix}:outbox:webhooks`,
    /** Hash: whether acts are written down, and how far; stream: those that are not in SQL yet; string: held by who takes them there (see `audit.ts`). */
    audit: `${prefix}:audit`,
    outboxAudit: `${prefix}:outbox:audit`,
    outboxAuditLease: `${prefix}:outbox:audit:lease`,
    /** Sorted set: id of each webhook by its making; hash: the webhook (see `webhook.ts`); its tries (see `webhook-log.ts`). */
    webhooks: `${prefix}:webhooks`,
    webhook: (id: string) => `${prefix}:webhook:${id}`,
    webhookLog: (id: string) => `${prefix}:webhook:${id}:log`,
    webhookDead: (id: string) => `${prefix}:webhook:${id}:dead`,
    /** Set: the ids of worker processes; each has a card that expires. */
    workers: `${prefix}:workers`,
    worker: (workerId: string) => `${prefix}:worker:${workerId}`,
    /** Hash: budget id → JSON of the limits that the provider's answers stated. */
    learnedLimits: `${prefix}:learned-limits`,
    /** Hash: until when, and why, a provider's long pause lasts (see `long-pause.ts`). */
    pause: (budgetId: string) => `${prefix}:pause:${budgetId}`,
    /** Hash: job id → a batch's row that the provider refused, while it is not clear whose fault that is. */
    refused: (key: string) => `${prefix}:refused:${key}`,
    /** Hashes: how the work of an hour since the epoch ended (see `error-counts.ts`). */
    errorCounts: (hour: number) => `${prefix}:errors:${hour}`,
    successCounts: (hour: number) => `${prefix}:successes:${hour}`,
    /** Hash: state and counters of a key's circuit breaker (see `breaker.ts`). */
    breaker: (key: string) => `${prefix}:breaker:${key}`,
    /** String: an answer, by the digest of what was asked, which is empty in the head of all of them. */
    cached: (digest: string) => `${prefix}:cache:${digest}`,
    /** Hash: who calls for an answer that is not there yet. */
    cacheLead: (digest: string) => `${prefix}:cache-lead:${digest}`,
    /** Sorted set: digest by last use; hash: digest → bytes, and their `total`. */
    cacheUses: `${prefix}:cache-uses`,
    cacheSizes: `${prefix}:cache-sizes`,
    /** Sorted set: a lease per call in flight of a budget (see `in-flight-leases.ts`). */
    inFlight: (budgetId: string) => `${prefix}:limit:${budgetId}:in-flight`,
    /** String: the id of the process that tells the fleet's gauges to those who scrape (see `fleet-figures.ts`). */
    metricsReader: `${prefix}:metrics-reader`,
    /** Hash: what the fleet's work came to in an hour of the epoch; and how long calls take (see `fleet-outcomes.ts`). */
    outcomes: (hour: number) => `${prefix}:outcomes:${hour}`,
    callTimes: `${prefix}:call-times`,
    /** Hash: the alerts that were told; string: held by the process that judges them (see `alert-state.ts`). */
    alerts: `${prefix}:alerts`,
    /** String: whether the latest message about an alert was of its begin or its end. */
    alertClaim: (alert: string) => `${prefix}:alert-claim:${alert}`,
    alertSweep: `${prefix}:alert-sweep`,
    /** Hash: tenant → JSON of its settings (see `tenant.ts`); string: there are tenants; hash: who has what part of a queue (see `tenant-shares.ts`). */
    tenants: `${prefix}:tenants`,
    /** Hash: what a tenant spends in a day or month under a limit of that; sorted set: its open jobs (see `tenant-queue.ts`). */
    tenantPeriod: (tenant: string, period: string) => `${prefix}:tenant:${tenant}:${period}`,
    tenantOpen: (tenant: string) => `${prefix}:tenant:${tenant}:open`,
    shared: `${prefix}:shared`,
    shares: (queue: string, urgency: string) => `${prefix}:shares:${queue}:${urgency}`,
    usage: (budgetKey: string) => `${prefix}:usage:${budgetKey}`,
    /**
     * Pub/sub: `queue`, `stop`, `cancel`, `breaker`, `limits`, `pause`, `cache`, whose messages name a queue, a batch, a
     * job, a key, a budget id, `<ms>:<budget id>`, a digest; `result:<jobId or runId>`, `batch:<id>`, `workflow:<runId>`,
     * `stream:<jobId>` (see `topics.ts`).
     */
    topic: (topic: string) => `${prefix}:events:${topic}`,
    /** Pub/sub of version 0.1: the messages of all topics but `stream`, as `<topic>:<subject>`. */
    channel: `${prefix}:events`,
  };
}

export type RedisKeys = ReturnType<typeof keysUnder>;
