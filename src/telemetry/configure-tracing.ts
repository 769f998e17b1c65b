import { context, DiagLogLevel, diag, trace } from "@opentelemetry/api";
import { z } from "zod";
import { getSettings } from "../shared/current-settings.ts";
import { logFault } from "../shared/fault-log.ts";
import type { Logger } from "../shared/logger.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { TracingSettings } from "../shared/tracing-setting.ts";
import { within } from "../shared/within.ts";
import { type MlflowOptions, mlflowHeaders, mlflowTracesUrl } from "./mlflow.ts";
import { idGenerator } from "./span-ids.ts";
import { decideOnce, isTracing, keepContent } from "./tracing.ts";
import { loadTracingSdk } from "./tracing-sdk.ts";

const DEFAULT_ENDPOINT = "http://localhost:4318";
/** A process that is killed loses the spans of so long. */
const EXPORT_MS = 1000;
/** What a slow collector leaves waiting; more is dropped. */
const MAX_QUEUED_SPANS = 8192;
const FLUSH_MS = 5000;

/** Options of traces; what is absent is as the settings say. */
export interface TracingOptions {
  /** The address of a collector that takes OTLP over HTTP, without `/v1/traces`; default `http://localhost:4318`, unless there is an MLflow. */
  endpoint?: string;
  /** Headers to the collector; default none. */
  headers?: Record<string, string>;
  /** An MLflow server, beside the collector or instead of it, and the experiment's name, `Default` by default. */
  mlflow?: { trackingUri: string; experimentName?: string; token?: string };
  /** Default `gluellm`. */
  serviceName?: string;
  /** The share of traces that are kept, 0 to 1; those that a caller began follow the caller. Default 1. */
  sampleRatio?: number;
  /** Whether spans have prompts, answers, arguments and results of tools; default false. */
  content?: boolean;
  /** Told of a collector that does not take the traces; default: nobody. */
  logger?: Logger;
}

const optionsSchema: z.ZodType<TracingOptions> = z.strictObject({
  endpoint: z.url().optional(),
  headers: z.record(z.string(), z.string()).optional(),
  mlflow: z
    .strictObject({
      trackingUri: z.url(),
      experimentName: z.string().min(1).optional(),
      token: z.string().optional(),
    })
    .optional(),
  serviceName: z.string().min(1).optional(),
  sampleRatio: z.number().min(0).max(1).optional(),
  content: z.boolean().optional(),
  logger: z.custom<Logger>().optional(),
});

/** The traces of this process. */
export interface Tracing extends AsyncDisposable {
  /** Sends what is not sent yet, in at most 5 s. */
  flush(): Promise<void>;
  /** Sends what is not sent yet and ends the traces, in at most 5 s. */
  shutdown(): Promise<void>;
}

let current: Promise<Tracing> | undefined;

/**
 * Begins the traces of this process: of calls to providers, tools, jobs, workflows, and of what they wait for. A second call returns the
 * traces that there are. Where the program has an SDK of its own registered, its spans go there and nothing is set up.
 *
 * ```ts
 * await using tracing = await configureTracing({ endpoint: "http://localhost:4318" });
 * ```
 * @throws ConfigurationError naming OpenTelemetry's packages that are missing, with the line that installs them; InputError
 */
export function configureTracing(options: TracingOptions = {}): Promise<Tracing> {
  current ??= begin(options).catch((error) => {
    current = undefined;
    throw error;
  });
  return current;
}

/** Begins the traces when the settings say so. */
export async function startTracing(settings: TracingSettings, logger: Logger): Promise<void> {
  if (settings.content) keepContent(true);
  if (settings.enabled) await configureTracing({ ...fromSettings(settings), logger });
}

/** Sends the spans that are not sent yet, when there are traces. */
export async function flushTracing(): Promise<void> {
  await (await current?.catch(() => undefined))?.flush();
}

async function begin(given: TracingOptions): Promise<Tracing> {
  const options = {
    ...fromSettings(getSettings().tracing),
    ...checkWith(optionsSchema, given, "the options of traces", "are"),
  };
  keepContent(options.content ?? false);
  if (isTracing())
    return { flush: async () => {}, shutdown: async () => {}, [Symbol.asyncDispose]: async () => {} };
  const { logger } = options;
  const sdk = await loadTracingSdk();
  const exporters = targetsOf(options).map((target) => new sdk.OTLPTraceExporter(target));
  const provider = new sdk.TracerProvider({
    resource: sdk.resourceFromAttributes({ "service.name": options.serviceName ?? "gluellm" }),
    idGenerator,
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(options.sampleRatio ?? 1) }),
    spanProcessors: exporters.map(
      (exporter) =>
        new sdk.BatchSpanProcessor({
          exporter,
          scheduledDelayMillis: EXPORT_MS,
          maxQueueSize: MAX_QUEUED_SPANS,
        }),
    ),
  });
  if (logger) tellFaults(logger);
  context.setGlobalContextManager(new sdk.AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  decideOnce(true);
  const flush = () =>
    within(
      FLUSH_MS,
      provider.forceFlush().catch(() => {}),
    );
  const shutdown = async () => {
    current = undefined;
    decideOnce(false);
    trace.disable();
    context.disable();
    diag.disable();
    await within(
      FLUSH_MS,
      provider.shutdown().catch(() => {}),
    );
  };
  // A program that ends by itself.
  process.once("beforeExit", () => void flush());
  return { flush, shutdown, [Symbol.asyncDispose]: shutdown };
}

/** Where spans go: addresses, and headers, which are asked for at each export. */
function targetsOf({ endpoint, headers, mlflow }: TracingOptions) {
  const collector = endpoint ?? (mlflow ? undefined : DEFAULT_ENDPOINT);
  const targets: { url: string; headers: () => Promise<Record<string, string>> }[] = [];
  if (collector !== undefined)
    targets.push({ url: `${collector.replace(/\/+$/, "")}/v1/traces`, headers: async () => headers ?? {} });
  if (mlflow) {
    const server: MlflowOptions = { experimentName: "Default", ...mlflow };
    targets.push({ url: mlflowTracesUrl(server), headers: mlflowHeaders(server) });
  }
  return targets;
}

/** A collector that is away says so at each export. Its faults may quote what was sent: their first words are enough. */
function tellFaults(logger: Logger): void {
  const tell = (message: string) =>
    logFault(logger, message.slice(0, 200), {}, "traces could not be sent", "warn");
  const quiet = () => {};
  diag.setLogger(
    { error: tell, warn: tell, info: quiet, debug: quiet, verbose: quiet },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}

function fromSettings({
  endpoint,
  headers,
  serviceName,
  sampleRatio,
  content,
  mlflow,
}: TracingSettings): TracingOptions {
  const { trackingUri, experimentName, token } = mlflow;
  const revealed = Object.entries(headers).map(([name, secret]) => [name, secret.reveal()]);
  return {
    ...(endpoint !== undefined && { endpoint }),
    headers: Object.fromEntries(revealed) as Record<string, string>,
    serviceName,
    sampleRatio,
    content,
    ...(trackingUri !== undefined && {
      mlflow: { trackingUri, experimentName, ...(token && { token: token.reveal() }) },
    }),
  };
}
