import { ConfigurationError, GlueError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import { type FailureReport, onError, reportError } from "./error-reports.ts";

/** Of one code and provider: an outage fails jobs by the thousand. */
const MAX_PER_MINUTE = 20;
const MINUTE_MS = 60_000;
const FLUSH_MS = 2000;

interface Sentry {
  flush(): Promise<void>;
}

let current: Promise<Sentry> | undefined;

/**
 * Sends what fails for good in this process to Sentry, when the settings say where. It has a client of its own: a program's own Sentry, and
 * its traces, are left alone.
 * @throws ConfigurationError when the package is missing
 */
export async function startSentry({ sentry }: Settings): Promise<void> {
  const { dsn, environment } = sentry;
  if (!dsn) return;
  current ??= open(dsn.reveal(), environment).catch((error) => {
    current = undefined;
    throw error;
  });
  await current;
}

/** Sends what waits, in at most 2 s. */
export async function flushSentry(): Promise<void> {
  await (await current?.catch(() => undefined))?.flush();
}

/** Reports what nobody catches before it ends this process, as it does without this. For processes that are ours alone. */
export function reportCrashes({ sentry }: Settings): void {
  if (!sentry.dsn) return;
  process.once("uncaughtException", (error) => {
    reportError(error, { kind: "crash", code: codeOf(error) });
    void flushSentry().finally(() => {
      process.stderr.write(`${error?.stack ?? error}\n`);
      process.exit(1);
    });
  });
}

async function open(dsn: string, environment: string | undefined): Promise<Sentry> {
  const { NodeClient, Scope, defaultStackParser, makeNodeTransport } = await loadSentry();
  const client = new NodeClient({
    dsn,
    ...(environment !== undefined && { environment }),
    transport: makeNodeTransport,
    stackParser: defaultStackParser,
    // None of them: they would add requests, local variables and lines of code.
    integrations: [],
    beforeSend: ({ request: _, user: __, breadcrumbs: ___, extra: ____, ...event }) => event,
  });
  client.init();
  const counts = new Map<string, number>();
  setInterval(() => counts.clear(), MINUTE_MS).unref();
  onError((error, report) => {
    const fingerprint = [report.code, report.provider ?? report.workflow ?? report.kind];
    const kind = fingerprint.join(" ");
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    if (count > MAX_PER_MINUTE) return;
    const scope = new Scope();
    scope.setClient(client);
    scope.setFingerprint(fingerprint);
    scope.setTags(tagsOf(report));
    if (report.kind === "crash") scope.setLevel("fatal");
    scope.captureException(sayable(error));
  });
  return { flush: async () => void (await client.flush(FLUSH_MS)) };
}

async function loadSentry() {
  try {
    return await import("@sentry/node");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new ConfigurationError(
      "SENTRY_DSN needs a package that is not installed: @sentry/node",
      "npm install @sentry/node@11",
    );
  }
}

function tagsOf({
  jobId,
  runId,
  batchId,
  traceId,
  ...report
}: FailureReport): Record<string, string | number> {
  const tags = { ...report, job: jobId, run: runId, batch: batchId, trace: traceId };
  return Object.fromEntries(Object.entries(tags).filter(([, value]) => value !== undefined)) as Record<
    string,
    string | number
  >;
}

/** Our own errors say nothing of a request. Of others their class and the places in the code remain. */
function sayable(error: unknown): Error {
  if (error instanceof GlueError && error.code !== "workflow_failed") return error;
  const name = codeOf(error);
  const frames = (error instanceof Error ? (error.stack ?? "") : "")
    .split("\n")
    .filter((line) => /^\s+at /.test(line));
  const told = new Error("see the log of the process");
  told.name = name;
  told.stack = [`${name}: ${told.message}`, ...frames].join("\n");
  return told;
}

function codeOf(error: unknown): string {
  if (error instanceof GlueError) return error.code;
  return error instanceof Error ? error.name : typeof error;
}
