import { AsyncLocalStorage } from "node:async_hooks";

/** What lines of a log are about: the job, run, batch, tenant, trace and request at work. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

const storage = new AsyncLocalStorage<LogFields>();

/**
 * Does work whose lines in the log all have these fields, whoever writes them; undefined ones are left out. Inside of it more can be added.
 *
 * ```ts
 * await withLogContext({ orderId }, () => handle(order));
 * ```
 */
export function withLogContext<T>(fields: LogFields, work: () => T): T {
  return storage.run({ ...storage.getStore(), ...fields }, work);
}

/** Does what outlives the work in which it happens to be begun: its lines are about other things. */
export function outsideLogContext<T>(work: () => T): T {
  return storage.exit(work);
}

/** Returns the fields of the work that is at hand; undefined outside of any. */
export function logContext(): LogFields | undefined {
  return storage.getStore();
}
