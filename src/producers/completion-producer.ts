import { randomUUID } from "node:crypto";
import type { Decision, PendingApproval } from "../shared/approval.ts";
import type { CompletionPayload, RunOptions } from "../shared/catalog.ts";
import type { ChatRequest, Message } from "../shared/chat.ts";
import type { ConversationTurn } from "../shared/conversation.ts";
import { InputError, JobLostError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { orAborted } from "../shared/or-aborted.ts";
import { ROUTE_QUEUE } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import { isOwnedBy, tenantOfName } from "../shared/tenant.ts";
import { currentToolRun, keyInTool, nestingHere, willRunAgain } from "../shared/tool-run.ts";
import { within } from "../shared/within.ts";
import { jobKey } from "../store/bullmq-internals.ts";
import type { CompletedRecord } from "../store/completed-record.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import {
  type ConversationRef,
  type ConversationSums,
  pushTurn,
  readConversation,
  readSums,
} from "../store/conversation.ts";
import { askedDigest, reserveJobId, storedKey } from "../store/idempotency.ts";
import { forgetWaits } from "../store/job-waits.ts";
import { readRecord } from "../store/result-record.ts";
import { KnownTenants } from "../store/tenant.ts";
import { retentionOf } from "../store/tenant-retention.ts";
import { admitJob } from "./admit-job.ts";
import { answerApproval, pendingApprovals } from "./approvals.ts";
import { cancelJob } from "./cancel.ts";
import { completionJob, deadlineOf, type JobOptions, type TeamMember } from "./completion-job.ts";
import { JobFollower } from "./job-follower.ts";
import { findJob, type JobRef, ownerOf } from "./job-lookup.ts";
import { type JobStatus, readJobStatus } from "./job-status.ts";
import { unpricedError, unpricedModels } from "./priced-models.ts";
import { ProducerQueues } from "./queues.ts";
import { RecordWait } from "./record-wait.ts";
import { retryJob } from "./retry-job.ts";
import { traceEnqueue } from "./trace-enqueue.ts";

/** How long the caller of an aborted call waits until its job is cancelled. */
export const ABANDON_MS = 1000;

export interface ProducerOptions {
  store: ConnectedStore;
  settings: Settings;
}

export interface CompletionInput extends JobOptions, RunOptions {
  model: ModelRef;
  /** The agents that may have their turn, the first one first; absent: there is no other one. */
  agents?: readonly TeamMember[] | undefined;
  /** To go on with when `model` cannot answer, in this order; absent: none. */
  fallbacks?: readonly ModelRef[];
  /** Checked already. */
  request: ChatRequest;
  /** Calls under the same key are one job. */
  idempotencyKey?: string;
  /** The name of deployments that its models were drawn for. */
  alias?: string;
  /** The models as they were asked for, where names of deployments are among them. */
  named?: readonly ModelRef[];
  /** What the call goes on with; `messages` are those of the request that are new. */
  conversation?: { ref: ConversationRef; messages: readonly Message[] };
}

/** Enqueues interactive completions and follows their jobs. */
export class CompletionProducer {
  readonly #options: ProducerOptions;
  readonly #queues: ProducerQueues;
  readonly #tenants: KnownTenants;
  readonly #follower: JobFollower;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#follower = new JobFollower(options.store);
    this.#queues = new ProducerQueues(options.store, options.settings.maxQueues);
    this.#tenants = new KnownTenants(options.store);
  }

  /**
   * Resolves once the job is in Redis. An abort before that takes it out again, should it get there all the same.
   * @throws InputError (`idempotency_conflict`) when the key stands for another request, `unknown_conversation`,
   * `conversation_too_long`, `nesting_too_deep`; ConfigurationError when the namespace already has its 100 queues, or `unpriced_model` for
   * a conversation with a cost limit; GlueError `tenant_queue_full`; the signal's reason.
   */
  async enqueue(input: CompletionInput, signal?: AbortSignal, newId = newJobId()): Promise<JobRef> {
    signal?.throwIfAborted();
    const enqueued = this.#inTurn(input, newId);
    try {
      return await orAborted(signal, enqueued);
    } catch (error) {
      if (signal?.aborted) void enqueued.then((job) => this.#abandon(input, job)).catch(() => {});
      throw error;
    }
  }

  #inTurn(input: CompletionInput, newId: string): Promise<JobRef> {
    const ref = input.conversation?.ref;
    if (!ref) return this.#enqueue(input, newId);
    const enqueued = (ref.latest ?? Promise.resolve()).then(() => this.#enqueue(input, newId));
    ref.latest = enqueued.catch(() => {});
    return enqueued;
  }

  async #enqueue(input: CompletionInput, newId: string): Promise<JobRef> {
    const { store, settings } = this.#options;
    const run = currentToolRun();
    const { idempotencyKey, conversation, ...given } = input;
    // What a tool asks for belongs to whom its job does.
    const fields = { ...given, tenant: given.tenant ?? run?.owner?.tenant, by: given.by ?? run?.owner?.by };
    const nesting = nestingHere();
    const reservation = { ...fields, conversation: conversation?.ref.id, jobId: newId };
    const toolKey = run && keyInTool(run, askedDigest(reservation));
    const key = idempotencyKey ?? (toolKey && (await storedKey(store, toolKey, fields.tenant)));
    const jobId = key === undefined ? newId : await reserveJobId(store, { ...reservation, key });
    const queue = await (fields.fallbacks
      ? this.#queues.registered(ROUTE_QUEUE)
      : this.#queues.of(fields.model));
    // Who reserved the id may have died before it added the job; adding it twice does nothing.
    const isKnown =
      jobId !== newId &&
      (await store.redis.exists(store.keys.result(jobId), jobKey(store, queue.name, jobId)));
    if (!isKnown) {
      const place = conversation && (await this.#takeTurn(input, conversation, jobId, queue.name));
      const more = { jobId, urgency: "interactive", conversation: place, nesting } as const;
      await traceEnqueue({ jobId, queue: queue.name, ...fields }, async (carrier) => {
        const job = await completionJob(store, settings, { ...fields, ...more, ...carrier });
        await admitJob({ store, tenants: this.#tenants, queues: this.#queues }, queue, job);
      });
    }
    return { id: jobId, queue: queue.name };
  }

  /**
   * Waits for the job's end.
   * @throws the job's error, of its class; JobLostError; the signal's reason, which leaves the job alone.
   */
  async result(job: JobRef, signal?: AbortSignal): Promise<CompletedRecord> {
    return this.#follower.result(job, RecordWait.begin(this.#options.store, job.id), signal);
  }

  /** As `JobFollower.stream`. */
  stream(job: JobRef, signal?: AbortSignal): ReturnType<JobFollower["stream"]> {
    return this.#follower.stream(job, signal);
  }

  /**
   * Enqueues and waits.
   * @throws as `enqueue` and `result` do; InputError `conversation_in_use`. An abort cancels the job, unless others may wait for it too, or will.
   */
  async complete(input: CompletionInput, signal?: AbortSignal): Promise<CompletedRecord> {
    if (input.conversation && input.conversation.ref.id === currentToolRun()?.conversation)
      throw waitsForItself();
    signal?.throwIfAborted();
    const newId = newJobId();
    // The turns of a conversation are taken in the order of the calls: nothing may come before that.
    const waiting = input.conversation ? undefined : RecordWait.begin(this.#options.store, newId);
    try {
      if (waiting) await orAborted(signal, waiting);
      const job = await this.enqueue(input, signal, newId);
      try {
        // Under its key there may have been a job already.
        if (!waiting || job.id !== newId) return await this.result(job, signal);
        return await this.#follower.result(job, waiting, signal, { isNew: true });
      } catch (error) {
        if (signal?.aborted) await this.#abandon(input, job);
        throw error;
      }
    } finally {
      waiting?.then(disposeOf, () => {});
    }
  }

  /** Ends a job for which nobody waits any more: an answer would be paid for in vain. With Redis away that is tried on. */
  async #abandon(input: CompletionInput, job: JobRef): Promise<void> {
    if (isWantedByNobodyElse(input)) await within(ABANDON_MS, this.cancel(job));
  }

  /** @throws JobLostError when Redis has neither the job nor its result, or it is another tenant's */
  async requireOwn(job: JobRef, tenant: string): Promise<void> {
    const owner = await ownerOf(this.#options.store, job);
    if (!owner || !isOwnedBy(tenant, owner)) throw new JobLostError(job.id);
  }

  /** @throws JobLostError when Redis has neither the job nor its result. */
  status(job: JobRef): Promise<JobStatus> {
    return readJobStatus({ ...this.#options, queues: this.#queues }, job);
  }

  /** @throws as `pendingApprovals` */
  approvals(job: JobRef): Promise<PendingApproval[]> {
    return pendingApprovals(this.#options.store, job.id);
  }

  /** @throws as `answerApproval` */
  async answer(
    job: JobRef,
    callId: string,
    answer: Pick<Decision, "approved" | "reason" | "by">,
  ): Promise<void> {
    await answerApproval(this.#options.store, job.id, callId, answer);
  }

  /** False when the job had ended before. @throws JobLostError when Redis has neither the job nor its result. */
  async cancel(ref: JobRef): Promise<boolean> {
    const { store } = this.#options;
    const found = await findJob(store, ref);
    const queue = found && this.#queues.named(found.queue);
    const job = await queue?.getJob(ref.id);
    const outcome = queue && job ? await cancelJob(store, queue, job) : "lost";
    // Jobs that were begun for it would be paid in vain.
    if (outcome === "cancelled")
      for (const id of await forgetWaits(store, ref.id)) await this.cancel({ id }).catch(() => {});
    const status = outcome === "lost" ? (await readRecord(store, ref.id))?.status : outcome;
    if (!status) throw new JobLostError(ref.id);
    return status === "cancelled";
  }

  /** @throws as `retryJob` */
  retry(job: JobRef): Promise<void> {
    return retryJob(this.#options.store, this.#queues, job);
  }

  /** @throws InputError as `pushTurn` does */
  async addMessages(conversation: ConversationRef, messages: readonly Message[]): Promise<void> {
    const keepMs = await this.#keepMs(conversation);
    await pushTurn(this.#options.store, { conversation, messages, keepMs });
  }

  /** How long a conversation stays after a message. */
  async #keepMs({ id }: ConversationRef): Promise<number> {
    const own = await this.#tenants.fresh(tenantOfName(id));
    return retentionOf(this.#options.settings.retention, own).conversationsMs;
  }

  /** @throws InputError `unknown_conversation` */
  turns(conversation: ConversationRef): Promise<ConversationTurn[]> {
    return readConversation(this.#options.store, conversation);
  }

  /** @throws InputError `unknown_conversation` */
  sums(conversation: ConversationRef): Promise<ConversationSums> {
    return readSums(this.#options.store, conversation);
  }

  /** Those who still wait for a result are told so; their jobs go on. */
  async close(): Promise<void> {
    this.#follower.close();
    await this.#queues.close();
  }

  async #takeTurn(
    input: CompletionInput,
    { ref, messages }: NonNullable<CompletionInput["conversation"]>,
    jobId: string,
    queue: string,
  ): Promise<CompletionPayload["conversation"]> {
    const { store, settings } = this.#options;
    const job = { jobId, queue, deadlineAt: await deadlineOf(store, "interactive", input) };
    const models = [input.model, ...(input.fallbacks ?? [])];
    const isUnpriced = unpricedModels(settings, models).length > 0;
    const position = await pushTurn(store, {
      ...{ conversation: ref, messages, job, isUnpriced },
      keepMs: await this.#keepMs(ref),
    });
    if (position === "unpriced") throw unpricedError(settings, models, "the conversation's cost limit");
    return { id: ref.id, position };
  }
}

const newJobId = () => `job-${randomUUID()}`;
const disposeOf = (used: Disposable) => used[Symbol.dispose]();

/** Whether nobody else waits for a call's job: under its idempotency key, or when the tool that made it is run again. */
export function isWantedByNobodyElse({ idempotencyKey }: CompletionInput): boolean {
  return idempotencyKey === undefined && !willRunAgain();
}

function waitsForItself(): InputError {
  return new InputError(
    "the call would wait for the answer that this tool is a part of: both belong to one conversation",
    "let the tool's calls stand alone, or in a conversation of their own",
    "conversation_in_use",
  );
}
