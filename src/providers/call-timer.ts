import { APIConnectionError } from "../shared/errors.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import type { ProviderCall } from "./provider.ts";

/** Ends a call that takes too long: as a whole, and when it streams also without a byte in between. */
export class CallTimer implements Disposable {
  readonly #call: ProviderCall;
  readonly #end: () => void;
  readonly #whole: NodeJS.Timeout;
  readonly #idle: NodeJS.Timeout | undefined;
  #passed: "whole" | "idle" | undefined;

  /** @param end is called when the time is over */
  constructor(call: ProviderCall, end: () => void) {
    this.#call = call;
    this.#end = end;
    this.#whole = setTimeout(() => this.#pass("whole"), call.timeoutMs);
    if (call.onDelta) this.#idle = setTimeout(() => this.#pass("idle"), call.idleTimeoutMs);
  }

  /** Counts the idle time anew: something of the answer came. */
  readonly alive = (): void => {
    this.#idle?.refresh();
  };

  /** Returns the error of the call that this timer ended; undefined when it ended none. */
  errorOf({ name }: ProviderEntry): APIConnectionError | undefined {
    const { timeoutMs, idleTimeoutMs } = this.#call;
    switch (this.#passed) {
      case "whole":
        return new APIConnectionError({
          code: "timeout",
          message: `${name} did not finish its answer within ${timeoutMs / 1000} s`,
          hint: "give the call more time with `timeoutMs`, all of them with GLUELLM_CALL_TIMEOUT_MS, or ask for fewer tokens",
        });
      case "idle":
        return new APIConnectionError({
          code: "timeout",
          message: `${name} sent nothing of its streamed answer for ${idleTimeoutMs / 1000} s`,
          hint: "give the call more patience with `idleTimeoutMs`, all of them with GLUELLM_IDLE_TIMEOUT_MS",
        });
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#whole);
    clearTimeout(this.#idle);
  }

  #pass(which: "whole" | "idle"): void {
    this.#passed ??= which;
    this.#end();
  }
}
