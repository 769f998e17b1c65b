import { z } from "zod";
import type { CompletionMessage, EnqueueOptions } from "../calls/completion-options.ts";
import type { ModelNames } from "../calls/model-chain.ts";
import { RequestConfig } from "../calls/request-config.ts";
import type { CompletionInput } from "../producers/completion-producer.ts";
import { type Action, MAX_CATCH_UP } from "../schedules/definition.ts";
import type { ScheduleStatus } from "../schedules/schedule-status.ts";
import type { Scheduler } from "../schedules/scheduler.ts";
import { checkTiming, nextTimes } from "../schedules/times.ts";
import { InputError } from "../shared/errors.ts";
import { checkWith } from "../shared/schema-check.ts";
import { encode } from "../shared/serialize.ts";
import type { Settings } from "../shared/settings.ts";
import { type Owner, storedOwner } from "../shared/tenant.ts";
import { type AnyWorkflow, isWorkflow } from "../workflows/workflow.ts";
import { refuseFunctions } from "./caller.ts";
import type { Connection } from "./connection.ts";
import { batchAction, type ScheduledBatch, scheduledBatchSchema } from "./scheduled-batch.ts";
import { checkRunOptions, type StartOptions, type Workflows } from "./workflows.ts";

/** A completion that a schedule makes at each tick: a message, or a message with options. */
export type ScheduledCompletion =
  | CompletionMessage
  | RequestConfig
  | ({ message: CompletionMessage } & Omit<
      EnqueueOptions,
      "idempotencyKey" | "delayMs" | "conversation" | "stream"
    >);

/** Options of a schedule. It has one of `workflow`, `completion` and `batch`, and either `cron` or `everyMs`. */
export interface ScheduleOptions extends Pick<StartOptions, "priority" | "deadlineMs" | "tags"> {
  /** The name of the schedule: 1 to 100 letters, digits, `_`, `-` and `.`; the same one again is the same schedule. */
  id: string;
  /** The workflow that each tick starts a run of: itself, or the name of one that the client knows. */
  workflow?: AnyWorkflow | string;
  /** The input of these runs, checked now. */
  input?: unknown;
  /** The completion that each tick makes. */
  completion?: ScheduledCompletion;
  /** The batch that each tick makes. */
  batch?: ScheduledBatch;
  /** The times as in crontab: minute, hour, day, month, weekday; or six fields with the seconds first; or `@daily` and the like. */
  cron?: string;
  /** The time between ticks, in milliseconds; they fall on its multiples since 1970, in UTC. */
  everyMs?: number;
  /** The time zone of `cron`, by its IANA name; default `UTC`. */
  timezone?: string;
  /**
   * What becomes of a tick while an earlier run of the schedule is on: `skip`, the default: nothing; `queue`: it runs after
   * the earlier one; `allow`: it runs beside it.
   */
  overlap?: "skip" | "queue" | "allow";
  /**
   * What becomes of ticks at whose time no worker was there: `none`: nothing, unless it is the latest and at most a minute
   * late; `last`, the default: the latest of them runs; `all`: each of them runs, one after the other.
   */
  catchUp?: "none" | "last" | "all";
  /** The most ticks that `catchUp: "all"` brings back, the latest ones: 1 to 1,000; default 100. */
  maxCatchUp?: number;
}

const ID = /^[\w.-]{1,100}$/;

const optionsSchema = z.strictObject({
  id: z.string().regex(ID, "use 1 to 100 letters, digits, _, - and ."),
  workflow: z
    .union([z.string(), z.custom<AnyWorkflow>(isWorkflow, "must be a name or what defineWorkflow returns")])
    .optional(),
  input: z.unknown().optional(),
  completion: z.custom<ScheduledCompletion>().optional(),
  batch: scheduledBatchSchema.optional(),
  cron: z.string().optional(),
  everyMs: z.number().optional(),
  timezone: z.string().default("UTC"),
  overlap: z.enum(["skip", "queue", "allow"]).default("skip"),
  catchUp: z.enum(["none", "last", "all"]).default("last"),
  maxCatchUp: z.int().min(1).max(MAX_CATCH_UP).default(100),
  priority: z.number().optional(),
  deadlineMs: z.number().optional(),
  tags: z.array(z.string()).optional(),
});
type CheckedOptions = z.infer<typeof optionsSchema>;

/** A schedule as it stood when it was asked for, and what one does with it. */
export interface Schedule extends ScheduleStatus {
  /** Returns how it stands now. @throws InputError `unknown_schedule` */
  status(): Promise<Schedule>;
  /** Lets it tick no more until `resume`. */
  pause(): Promise<Schedule>;
  /** Lets it tick again; what it passed over meanwhile is not caught up. */
  resume(): Promise<Schedule>;
  /** Starts a run at once, also while it is paused or another run is on. Returns the run's id, or the job's. */
  trigger(): Promise<string>;
  /** Deletes it; runs that it has begun go on. Returns false when it was deleted before. */
  delete(): Promise<boolean>;
  /** Returns the times of its next ticks, as if it were not paused. */
  next(count?: number): Date[];
}

interface SchedulesOptions {
  workflows: Workflows;
  defaultModel: ModelNames;
  settings: Settings;
  /** Whether the models of its batches need prices. */
  needsPrices: boolean;
  /** In whose name it works; without a tenant it sees the schedules of all. */
  owner: Owner;
  toInput: (message: CompletionMessage, options: EnqueueOptions) => CompletionInput;
}

/** The schedules of a namespace. */
export class Schedules {
  readonly #connection: Connection;
  readonly #options: SchedulesOptions;

  /** Makes the schedules of a client. */
  constructor(connection: Connection, options: SchedulesOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /**
   * Creates a schedule, or gives the one of this id another definition; the same definition again changes nothing. It stays
   * until it is deleted. Each tick is one run, whose id or idempotency key is made of the schedule's id and the planned time.
   * @throws InputError (`invalid_schedule`) for times that never come, an unknown time zone and the like; InputError for an
   * unknown workflow or an input that it does not take, and (`schedule_taken`) when another tenant has the id; ConfigurationError for an unknown model
   */
  async create(options: ScheduleOptions): Promise<Schedule> {
    const checked = checkWith(optionsSchema, options, "the options of the schedule", "are");
    const { id, cron, everyMs, timezone, overlap, catchUp, maxCatchUp } = checked;
    checkTiming({ cron, everyMs, timezone });
    const timing = { cron, everyMs, timezone };
    const owner = storedOwner(this.#options.owner);
    const definition = { v: 1 as const, ...timing, overlap, catchUp, maxCatchUp, ...owner };
    if (checked.batch === undefined) {
      const action = this.#action(checked);
      return this.#with((scheduler) => scheduler.create(id, { ...definition, action }));
    }
    const { batch } = checked;
    this.#refuseOthers(checked);
    const { settings, needsPrices } = this.#options;
    const scheduling = { id, timing, ...owner, settings, needsPrices };
    return this.#with(async (scheduler) => {
      const store = await this.#connection.store();
      const action = await batchAction(batch, scheduling, store, scheduler);
      return scheduler.create(id, { ...definition, action });
    });
  }

  /** Returns a schedule as it stands. @throws InputError `unknown_schedule` */
  get(id: string): Promise<Schedule> {
    return this.#with((scheduler) => scheduler.status(id, this.#tenant));
  }

  /** Returns all schedules, the first created first. */
  async list(): Promise<Schedule[]> {
    return this.#connection.useSchedules(async (scheduler) =>
      (await scheduler.list(this.#tenant)).map((status) => this.#schedule(status, scheduler)),
    );
  }

  /** Lets a schedule tick no more until `resume`. @throws InputError `unknown_schedule` */
  pause(id: string): Promise<Schedule> {
    return this.#with((scheduler) =>
      scheduler.pause(id, this.#tenant).then(() => scheduler.status(id, this.#tenant)),
    );
  }

  /**
   * Lets a paused schedule tick again; what it passed over meanwhile is not caught up. @throws InputError
   * `unknown_schedule`
   */
  resume(id: string): Promise<Schedule> {
    return this.#with((scheduler) =>
      scheduler.resume(id, this.#tenant).then(() => scheduler.status(id, this.#tenant)),
    );
  }

  /**
   * Starts a run at once, also while the schedule is paused or another run is on. Returns the run's id, or the job's.
   * @throws InputError `unknown_schedule`
   */
  trigger(id: string): Promise<string> {
    return this.#connection.useSchedules((scheduler) => scheduler.trigger(id, this.#tenant));
  }

  /** Deletes a schedule; runs that it has begun go on. Returns false when there was none. */
  delete(id: string): Promise<boolean> {
    return this.#connection.useSchedules((scheduler) => scheduler.delete(id, this.#tenant));
  }

  /** Returns the times of a schedule's next ticks, as if it were not paused. @throws InputError `unknown_schedule` */
  async next(id: string, count = 5): Promise<Date[]> {
    return (await this.get(id)).next(count);
  }

  get #tenant(): string | undefined {
    return this.#options.owner.tenant;
  }

  async #with(work: (scheduler: Scheduler) => Promise<ScheduleStatus>): Promise<Schedule> {
    return this.#connection.useSchedules(async (scheduler) =>
      this.#schedule(await work(scheduler), scheduler),
    );
  }

  #schedule(status: ScheduleStatus, scheduler: Scheduler): Schedule {
    const { id } = status;
    return {
      ...status,
      status: () => this.get(id),
      pause: () => this.pause(id),
      resume: () => this.resume(id),
      trigger: () => this.trigger(id),
      delete: () => this.delete(id),
      next: (count = 5) => nextTimes(status, scheduler.now(), count).map((time) => new Date(time)),
    };
  }

  #refuseOthers(given: CheckedOptions): void {
    const others = (["workflow", "completion", "input", "priority", "deadlineMs", "tags"] as const).filter(
      (option) => given[option] !== undefined,
    );
    if (others.length === 0) return;
    const what = `the schedule is wrong: it has batch and ${others[0]}`;
    throw new InputError(what, "a batch has options of its own", "invalid_schedule");
  }

  #action({ workflow: given, completion, input, deadlineMs, ...options }: CheckedOptions): Action {
    if ((given === undefined) === (completion === undefined)) {
      const what =
        given === undefined ? "neither workflow nor completion nor batch" : "both workflow and completion";
      throw new InputError(`the schedule is wrong: it has ${what}`, "give one of them", "invalid_schedule");
    }
    const { priority, tags } = checkRunOptions({ ...options, deadlineMs });
    if (given === undefined)
      return this.#completion(completion as ScheduledCompletion, { ...options, input });
    const { workflows, defaultModel } = this.#options;
    const { name, version, limits } = workflows.checked(given, input);
    const encoded = encode(input ?? null, `the input of workflow "${name}"`, { dropsUndefined: true });
    const of = {
      kind: "workflow" as const,
      workflow: name,
      version,
      limits,
      input: encoded.json,
      priority,
      deadlineMs,
    };
    return {
      ...of,
      inputTyped: encoded.isTyped,
      tags: [...tags],
      defaultModel: typeof defaultModel === "string" ? defaultModel : [...defaultModel],
    };
  }

  #completion(completion: ScheduledCompletion, others: Partial<CheckedOptions>): Action {
    const ofRuns = (["input", "tags"] as const).find((option) => others[option] !== undefined);
    if (ofRuns)
      throw new InputError(`the options of the schedule are wrong at ${ofRuns}: only a workflow has it`);
    const { message, ...options } = asked(completion);
    for (const option of ["idempotencyKey", "delayMs", "conversation", "stream", "signal"]) {
      if (Object.hasOwn(options, option))
        throw new InputError(
          `the options of the schedule are wrong at completion.${option}: a tick has none`,
        );
    }
    refuseFunctions(options);
    return { kind: "completion", input: this.#options.toInput(message, options) };
  }
}

function asked(completion: ScheduledCompletion): { message: CompletionMessage } & EnqueueOptions {
  if (completion instanceof RequestConfig) return { ...completion.options, message: completion.message };
  if (typeof completion === "object" && "message" in completion) return completion;
  return { message: completion };
}
