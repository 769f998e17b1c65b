import { GlueError } from "../../shared/errors.ts";

/** What a check found. */
export interface Finding {
  status: "ok" | "warn" | "fail";
  /** What was seen; of several things a line each. */
  seen: string;
  /** What to type or to do, where it is not ok; the same. */
  remedy?: string;
}

/** One thing that is looked at. */
export interface Check {
  /** In the words of the report. */
  name: string;
  run(signal: AbortSignal): Finding | Promise<Finding>;
}

/** Checks of one kind. */
export interface CheckGroup {
  name: string;
  checks: readonly Check[];
}

/** A check that was made. */
export interface CheckResult extends Finding {
  group: string;
  name: string;
  durationMs: number;
}

/** Each check has this long; what hangs is a fault of that check alone. */
const CHECK_MS = 10_000;

/** Makes the checks of a group side by side; what one of them throws is its finding. */
export function runGroup({ name: group, checks }: CheckGroup, limitMs = CHECK_MS): Promise<CheckResult[]> {
  return Promise.all(
    checks.map(async ({ name, run }) => {
      const startedAt = performance.now();
      const finding = await runCheck(run, limitMs);
      return { group, name, ...finding, durationMs: Math.round(performance.now() - startedAt) };
    }),
  );
}

async function runCheck(run: Check["run"], limitMs: number): Promise<Finding> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const controller = new AbortController();
  const timer = setTimeout(() => {
    reject(new LateError(limitMs));
    controller.abort();
  }, limitMs);
  try {
    return await Promise.race([late, run(controller.signal)]);
  } catch (error) {
    return failed(error);
  } finally {
    clearTimeout(timer);
  }
}

class LateError extends Error {
  constructor(limitMs: number) {
    super(`it did not end within ${limitMs / 1000} s`);
  }
}

/** Returns what was thrown as a finding. */
export function failed(error: unknown): Finding {
  if (error instanceof GlueError) return { status: "fail", seen: error.message, remedy: error.hint };
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof LateError) return { status: "fail", seen: text, remedy: "run gluellm doctor again" };
  return { status: "fail", seen: `the check itself failed: ${text}`, remedy: "run gluellm doctor again" };
}

export function ok(seen: string): Finding {
  return { status: "ok", seen };
}

export function warn(seen: string, remedy: string): Finding {
  return { status: "warn", seen, remedy };
}

export function fail(seen: string, remedy: string): Finding {
  return { status: "fail", seen, remedy };
}

/** Returns the worst of several findings as one, all of that kind together; `good` where none is wrong. */
export function worst(findings: readonly Finding[], good: string): Finding {
  for (const status of ["fail", "warn"] as const) {
    const those = findings.filter((finding) => finding.status === status);
    if (those.length === 0) continue;
    const remedies = [...new Set(those.flatMap(({ remedy }) => remedy ?? []))];
    return { status, seen: those.map(({ seen }) => seen).join("\n"), remedy: remedies.join("\n") };
  }
  return ok(good);
}
