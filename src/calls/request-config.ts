import type { CompleteOptions, CompletionMessage } from "./completion-options.ts";
import type { OutputSchema } from "./output-schema.ts";

/**
 * A request apart from the client that will make it: `glue.complete(config)`. It never changes.
 *
 * ```ts
 * const brief = new RequestConfig("Name a colour.", { model: "openai:gpt-4o-mini", maxTokens: 10 });
 * const warm = brief.with({ message: "Name a warm colour." });
 * ```
 */
export class RequestConfig<S extends OutputSchema = OutputSchema> {
  readonly message: CompletionMessage;
  /** The options, frozen. */
  readonly options: Readonly<CompleteOptions<S>>;

  constructor(message: CompletionMessage, options: CompleteOptions<S> = {}) {
    this.message = message;
    this.options = Object.freeze({ ...options });
    Object.freeze(this);
  }

  /** Returns a copy with another message, or other options. */
  with<T extends OutputSchema = S>({
    message = this.message,
    ...changes
  }: CompleteOptions<T> & { message?: CompletionMessage }): RequestConfig<T> {
    // Without a schema among the changes T is S.
    return new RequestConfig(message, { ...this.options, ...changes } as CompleteOptions<T>);
  }
}

/** Returns message and options of what is asked: options beside a configuration come before its own. */
export function unpack<S extends OutputSchema>(
  asked: CompletionMessage | RequestConfig<S>,
  options: CompleteOptions<S>,
): [CompletionMessage, CompleteOptions<S>] {
  return asked instanceof RequestConfig
    ? [asked.message, { ...asked.options, ...options }]
    : [asked, options];
}
