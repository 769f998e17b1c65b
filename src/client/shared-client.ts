import type { CompleteOptions, CompletionMessage } from "../calls/completion-options.ts";
import type { CompletionEvent, CompletionResult } from "../calls/completion-result.ts";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import type { RequestConfig } from "../calls/request-config.ts";
import { settingsReloads } from "../shared/current-settings.ts";
import type { CompletionHandle } from "./completion-handle.ts";
import { GlueLLM } from "./glue-llm.ts";

/** Nobody closes the shared client: it closes by itself, so that a program can end. */
const IDLE_CLOSE_MS = 500;

let shared: { client: GlueLLM; reloads: number } | undefined;

function sharedClient(): GlueLLM {
  const reloads = settingsReloads();
  // One of earlier settings ends its calls, and closes by itself.
  if (shared?.reloads !== reloads) shared = { client: new GlueLLM({ idleCloseMs: IDLE_CLOSE_MS }), reloads };
  return shared.client;
}

/** Does `complete` of a client that the whole process shares, with the settings of the environment. */
export async function complete<S extends OutputSchema>(
  message: CompletionMessage | RequestConfig<S>,
  options?: CompleteOptions<S>,
): Promise<CompletionResult<OutputOf<S>>> {
  return sharedClient().complete(message, options);
}

/** Does `structuredComplete` of a client that the whole process shares, with the settings of the environment. */
export async function structuredComplete<S extends OutputSchema>(
  config: RequestConfig<S>,
): Promise<OutputOf<S>>;
export async function structuredComplete<S extends OutputSchema>(
  message: CompletionMessage,
  options: CompleteOptions<S> & { schema: S },
): Promise<OutputOf<S>>;
export async function structuredComplete<S extends OutputSchema>(
  message: CompletionMessage | RequestConfig<S>,
  options?: CompleteOptions<S>,
): Promise<OutputOf<S>> {
  return sharedClient().structuredComplete(message as CompletionMessage, options as { schema: S });
}

/** Does `enqueue` of a client that the whole process shares, with the settings of the environment. */
export async function enqueue<S extends OutputSchema>(
  message: CompletionMessage | RequestConfig<S>,
  options?: CompleteOptions<S>,
): Promise<CompletionHandle<S>> {
  return sharedClient().enqueue(message, options);
}

/** Does `stream` of a client that the whole process shares, with the settings of the environment. */
export function stream<S extends OutputSchema>(
  message: CompletionMessage | RequestConfig<S>,
  options?: CompleteOptions<S>,
): AsyncGenerator<CompletionEvent<OutputOf<S>>, void, undefined> {
  return sharedClient().stream(message, options);
}
