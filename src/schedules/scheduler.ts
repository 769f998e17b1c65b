import { randomUUID } from "node:crypto";
import { canonicalJson } from "../shared/canonical-json.ts";
import { sha256 } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import { isOwnedBy } from "../shared/tenant.ts";
import { clockOf } from "../store/redis-clock.ts";
import {
  dropSchedule,
  pauseSchedule,
  putSchedule,
  readSchedule,
  type ScheduleRecord,
  scheduleIds,
} from "../store/schedule.ts";
import { beginTrigger, noteStart, readScheduleActivity } from "../store/schedule-ticks.ts";
import { type Action, type Definition, readDefinition } from "./definition.ts";
import { type ScheduleStatus, statusOf } from "./schedule-status.ts";
import { type ScheduleAccess, startAction } from "./start-action.ts";
import { TickJobs } from "./tick-jobs.ts";

const MAX_DEFINITION_BYTES = 1024 * 1024;
/** By which this machine's clock may be ahead of Redis' to plan ticks. */
const MAX_AHEAD_MS = 1000;

/** Creates, reads and changes schedules. */
export class Scheduler {
  readonly #access: ScheduleAccess;
  readonly #jobs: TickJobs;

  constructor(access: ScheduleAccess) {
    this.#access = access;
    this.#jobs = new TickJobs(access.store);
  }

  /** Creates a schedule, or gives the one of this id another definition; the same one again changes nothing. */
  async create(id: string, definition: Definition): Promise<ScheduleStatus> {
    const { store } = this.#access;
    const json = JSON.stringify(definition);
    const bytes = Buffer.byteLength(json);
    if (bytes > MAX_DEFINITION_BYTES) {
      throw new InputError(
        `the schedule has ${bytes} bytes; the limit is ${MAX_DEFINITION_BYTES}`,
        "let the workflow fetch what is large",
        "schedule_too_large",
      );
    }
    const { cron, everyMs, timezone } = definition;
    const outcome = await putSchedule(store, {
      id,
      tenant: definition.tenant ?? "",
      definition: json,
      digest: sha256(canonicalJson(JSON.parse(json))),
      timing: JSON.stringify([cron, everyMs, timezone]),
    });
    if (outcome === "taken") {
      throw new InputError(`there is another schedule "${id}"`, "take another id", "schedule_taken");
    }
    const schedule = await this.#read(id);
    // Who created it before may not have lived to let it tick.
    const isToArm = !schedule.paused && (outcome === "retimed" || !(await this.#jobs.isArmed(id)));
    if (isToArm) await this.#arm(id, definition);
    return this.status(id);
  }

  /** @throws InputError `unknown_schedule` */
  async status(id: string, tenant?: string): Promise<ScheduleStatus> {
    const schedule = await this.#read(id, tenant);
    const activity = await readScheduleActivity(this.#access.store, id);
    const now = await clockOf(this.#access.store).fresh();
    return statusOf(schedule, readDefinition(id, schedule.definition), activity, now);
  }

  /** Returns what a schedule starts; undefined when there is none. */
  async action(id: string, tenant?: string): Promise<Action | undefined> {
    const schedule = await readSchedule(this.#access.store, id);
    return schedule && isSeenBy(tenant, schedule)
      ? readDefinition(id, schedule.definition).action
      : undefined;
  }

  /** @param tenant whose schedules; all of them when it is not given. So it is with the other methods. */
  async list(tenant?: string): Promise<ScheduleStatus[]> {
    const ids = await scheduleIds(this.#access.store);
    const found = await Promise.all(
      ids.map((id) =>
        this.status(id, tenant).catch((error: unknown) => {
          // It was deleted after it was listed.
          if (error instanceof InputError && error.code === "unknown_schedule") return [];
          throw error;
        }),
      ),
    );
    return found.flat();
  }

  /** @throws InputError `unknown_schedule` */
  async pause(id: string, tenant?: string): Promise<void> {
    await this.#read(id, tenant);
    if (!(await pauseSchedule(this.#access.store, id, true))) throw unknownSchedule(id);
    await this.#jobs.disarm(id);
  }

  /** @throws InputError `unknown_schedule` */
  async resume(id: string, tenant?: string): Promise<void> {
    await this.#read(id, tenant);
    if (!(await pauseSchedule(this.#access.store, id, false))) throw unknownSchedule(id);
    const { definition } = await this.#read(id);
    if (!(await this.#jobs.isArmed(id))) await this.#arm(id, readDefinition(id, definition));
  }

  /** Returns false when there was no such schedule. */
  async delete(id: string, tenant?: string): Promise<boolean> {
    const schedule = await readSchedule(this.#access.store, id);
    if (!schedule || !isSeenBy(tenant, schedule)) return false;
    const existed = await dropSchedule(this.#access.store, id);
    await this.#jobs.disarm(id);
    return existed;
  }

  /** Starts a run at once, also of a paused schedule, and returns its id. @throws InputError; ConfigurationError */
  async trigger(id: string, tenant?: string): Promise<string> {
    const { store } = this.#access;
    const schedule = await this.#read(id, tenant);
    const definition = readDefinition(id, schedule.definition);
    const now = await clockOf(store).fresh();
    const key = `${now}-${randomUUID().slice(0, 8)}`;
    if (!(await beginTrigger(store, id, key, now))) throw unknownSchedule(id);
    try {
      const run = await startAction(this.#access, definition, id, key);
      if ("lacks" in run) throw new InputError(`schedule ${id} needs ${run.lacks}`);
      await noteStart(store, id, key, { run });
      return run.id;
    } catch (error) {
      if (error instanceof InputError) await noteStart(store, id, key, { error: error.message });
      throw error;
    }
  }

  /** BullMQ plans no tick before this machine's time: when its clock is ahead, a worker does it within seconds. */
  async #arm(id: string, definition: Definition): Promise<void> {
    const aheadMs = Date.now() - (await clockOf(this.#access.store).fresh());
    if (aheadMs < MAX_AHEAD_MS) await this.#jobs.arm(id, definition);
  }

  /** Returns the time by which ticks are planned, in epoch milliseconds. */
  now(): number {
    return clockOf(this.#access.store).now();
  }

  async #read(id: string, tenant?: string): Promise<ScheduleRecord> {
    const schedule = await readSchedule(this.#access.store, id);
    if (!schedule || !isSeenBy(tenant, schedule)) throw unknownSchedule(id);
    return schedule;
  }

  close(): Promise<void> {
    return this.#jobs.close();
  }
}

/** Those of other tenants are as if they were not there. */
function isSeenBy(tenant: string | undefined, schedule: ScheduleRecord): boolean {
  return tenant === undefined || isOwnedBy(tenant, schedule);
}

function unknownSchedule(id: string): InputError {
  return new InputError(
    `no schedule "${id}"`,
    "gluellm schedule list shows those there are",
    "unknown_schedule",
  );
}
