import type { CompleteOptions, CompletionMessage } from "./completion-options.ts";

/**
 * A request apart from the client that will make it: `glue.complete(config)`. It never changes.
 *
 * ```ts
 * const brief = new RequestConfig("Name a colour.", { model: "openai:gpt-4o-mini", maxTokens: 10 });
 * const warm = brief.with({ message: "Name a warm colour." });
 * ```
 */
export class RequestConfig {
  readonly message: CompletionMessage;
  readonly options: Readonly<CompleteOptions>;

  constructor(message: CompletionMessage, options: CompleteOptions = {}) {
    this.message = message;
    this.options = Object.freeze({ ...options });
    Object.freeze(this);
  }

  /** A copy with another message, or other options. */
  with({
    message = this.message,
    ...changes
  }: CompleteOptions & { message?: CompletionMessage }): RequestConfig {
    return new RequestConfig(message, { ...this.options, ...changes });
  }
}

/** What is asked: the options beside a configuration come before its own. */
export function unpack<Options extends CompleteOptions>(
  asked: CompletionMessage | RequestConfig,
  options: Options,
): [CompletionMessage, Options] {
  return asked instanceof RequestConfig
    ? [asked.message, { ...asked.options, ...options }]
    : [asked, options];
}
