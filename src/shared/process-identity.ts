import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

/** A process that can be told from a later one with the same pid. */
export interface ProcessIdentity {
  pid: number;
  startedAt: string;
}

/** Stands for the start of a process that the machine does not tell: `/proc` is hidden, or no file can be opened. */
const UNTOLD = "untold";

/**
 * When a process started, as an opaque text; `undefined` when there is no such process (a zombie counts as gone).
 * Linux: boot id and start ticks of `/proc`; elsewhere `ps`, to the second. Where neither tells, `UNTOLD`.
 */
export function startTimeOf(pid: number): string | undefined {
  if (process.platform !== "linux") return startTimeFromPs(pid);
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The command name is in parentheses and may hold spaces: fields are counted from its end.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTicks] = [fields[0], fields[19]];
    return state === "Z" || state === "X" ? undefined : `${bootId()}/${startTicks}`;
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const isGone = ["ENOENT", "ESRCH"].includes(code) && existsSync("/proc/self/stat");
    return isGone ? undefined : untoldStart(pid);
  }
}

/** Whether the process is still there; one whose start is not told counts as it: better to wait than to take its work. */
export function isAlive({ pid, startedAt }: ProcessIdentity): boolean {
  const found = startTimeOf(pid);
  return found === startedAt || found === UNTOLD || (found !== undefined && startedAt === UNTOLD);
}

/** Whether the process is surely the one that is meant: one whose start is not told may be a stranger, not to be ended. */
export function isSurely({ pid, startedAt }: ProcessIdentity): boolean {
  return startedAt !== UNTOLD && startTimeOf(pid) === startedAt;
}

export function identityOf(pid: number): ProcessIdentity | undefined {
  const startedAt = startTimeOf(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

let knownBootId: string | undefined;

function bootId(): string {
  knownBootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  return knownBootId;
}

function startTimeFromPs(pid: number): string | undefined {
  try {
    const output = execFileSync("/bin/ps", ["-o", "lstart=", "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return output.trim() || undefined;
  } catch (error) {
    // It says so by its exit code; anything else means that it could not be run.
    const { status } = error as { status?: number | null };
    return status === 1 ? undefined : untoldStart(pid);
  }
}

/** For a process that can be sent a signal. */
function untoldStart(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
    return UNTOLD;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? UNTOLD : undefined;
  }
}
