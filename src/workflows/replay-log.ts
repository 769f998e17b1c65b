import type { Logger } from "../shared/logger.ts";
import type { WorkflowContext } from "./context.ts";
import type { Execution } from "./execution.ts";

/** Returns a logger that says nothing a second time. */
export function quietInReplay(logger: Logger, execution: Execution): WorkflowContext["log"] {
  type Level = keyof WorkflowContext["log"];
  const at = (level: Level) =>
    ((...args: Parameters<Logger["info"]>) => {
      if (!execution.isReplaying) logger[level](...args);
    }) as Logger["info"];
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
