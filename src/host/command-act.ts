import type { Act, OpenAct } from "../store/audit.ts";
import type { Store } from "../store/store.ts";

/*
 * The act of a process that does one thing: a command. It begins with the first Redis that the command opens, so that one that comes to
 * nothing before tells of nothing, and ends with the command: until then the connection stays.
 */

let planned: Act | undefined;
let open: OpenAct | undefined;
const closings: (() => Promise<void>)[] = [];

/** Says what the command does. */
export function planCommandAct(act: Act): void {
  planned = act;
}

/** Begins the act of this process, if there is one. Returns whether it hangs on this store. @throws GlueError `audit_full` */
export async function beginCommandAct(store: Store): Promise<boolean> {
  if (!planned) return false;
  const act = planned;
  planned = undefined;
  const { Audit } = await import("../store/audit.ts");
  open = await new Audit(store).begin(act);
  return open !== undefined;
}

/** Closes something after the act's end. */
export function closeAfterAct(close: () => Promise<void>): void {
  closings.push(close);
}

/** Ends the act, if one began: with the error, or the exit code. An end that cannot be written leaves the act without one. */
export async function endCommandAct(error?: unknown): Promise<void> {
  await open?.end({ outcome: outcomeOf(error) }).catch(() => {});
  open = undefined;
  for (const close of closings.splice(0)) await close();
}

function outcomeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  if (error !== undefined) return typeof code === "string" ? code : "error";
  const exitCode = process.exitCode ?? 0;
  return Number(exitCode) === 0 ? "done" : `exit_${exitCode}`;
}
