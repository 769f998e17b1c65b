import type { Logger } from "../shared/logger.ts";
import { redactorOf } from "../shared/redact.ts";
import type { Settings } from "../shared/settings.ts";
import { checkRedis } from "../store/check-redis.ts";
import { type ConnectedStore, openStore } from "../store/connected-store.ts";
import { redisKeys } from "../store/redis-keys.ts";
import { type RedisTarget, redisTarget } from "../store/redis-target.ts";
import { flushTracing, startTracing } from "../telemetry/configure-tracing.ts";
import { redactContent } from "../telemetry/llm-attributes.ts";
import { flushSentry, startSentry } from "../telemetry/sentry.ts";
import { beginCommandAct, closeAfterAct } from "./command-act.ts";
import { openKeyRing } from "./key-ring.ts";

export interface RedisHost extends AsyncDisposable {
  target: RedisTarget;
  /** The process's connections, which all its parts share. */
  store: ConnectedStore;
  /** True when the server belongs to the data folder. */
  embedded: boolean;
}

/**
 * The configured Redis, checked; or the data folder's embedded one, joined or started, and started again should it
 * end while this process needs it.
 * @param options `triesWrites`: whether a key is written and deleted to see that it can be; default true
 * @throws ConfigurationError when neither can be had.
 */
export async function openRedis(
  settings: Settings,
  logger: Logger,
  signal?: AbortSignal,
  { triesWrites = true }: { triesWrites?: boolean } = {},
): Promise<RedisHost> {
  await startTracing(settings.tracing, logger);
  await startSentry(settings);
  const ring = await openKeyRing(settings.encryption);
  const redact = redactorOf(settings.redaction);
  redactContent(redact);
  const held = settings.redisUrl ? undefined : await holdEmbedded(settings, logger);
  const target = held
    ? { socketPath: held.socketPath }
    : redisTarget(settings.redisUrl ?? "", settings.namespace);
  const { prefix } = redisKeys(settings.namespace);
  if (!held) await checkRedis(target, { prefix, logger, signal, triesWrites });
  const store = openStore(target, settings.namespace, logger, ring, redact);
  const close = async () => {
    store.disconnect();
    held?.release();
    // What worked in this process has ended.
    await Promise.all([flushTracing(), flushSentry()]);
  };
  const hasAct = await beginCommandAct(store).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return {
    target,
    store,
    embedded: held !== undefined,
    async [Symbol.asyncDispose]() {
      if (hasAct) closeAfterAct(close);
      else await close();
    },
  };
}

async function holdEmbedded({ dataDir, system }: Settings, logger: Logger) {
  const { holdEmbeddedRedis } = await import("../embedded-redis/hold.ts");
  return holdEmbeddedRedis({
    dataDir,
    system,
    onProgress: (line) => process.stderr.write(`${line}\n`),
    onRestart: () => logger.warn("Redis ended and was started again with its data"),
    onFault: (error) => logger.error({ fault: error.message }, "Redis cannot be started again"),
  });
}
