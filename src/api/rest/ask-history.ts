import type { HistoryDatabase } from "../../history/database.ts";
import { ConfigurationError, InputError } from "../../shared/errors.ts";
import { logFault } from "../../shared/fault-log.ts";
import { ApiError, badParameter } from "../api-error.ts";
import type { ApiContext } from "../context.ts";

/** Asks the history. @throws ApiError 503 when it is off or away, 400 for a question that it does not know */
export async function askHistory<T>(
  context: Pick<ApiContext, "history" | "logger">,
  question: (history: HistoryDatabase) => Promise<T>,
): Promise<T> {
  try {
    return await context.history.ask(question);
  } catch (error) {
    if (error instanceof InputError) throw badParameter("by", `${error.message}; ${error.hint}`);
    const { code, message } = error instanceof ConfigurationError ? error : unavailable();
    if (code === "history_unavailable")
      logFault(context.logger, (error as Error).message, {}, "the history does not answer");
    // What the engine says may name places that are nobody's business.
    throw new ApiError({
      status: 503,
      code,
      message: code === "history_off" ? message : unavailable().message,
    });
  }
}

function unavailable() {
  return {
    code: "history_unavailable",
    message: "the history's database does not answer; the log of the API says why",
  };
}
