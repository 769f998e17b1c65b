import type { Message } from "../shared/chat.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { ResultRecord } from "../shared/records.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import type { LostCall } from "./job-attempt.ts";
import type { CallsInput } from "./shorten-history.ts";
import type { PaidCall } from "./spent.ts";

/** A job of calls and tools. */
export interface LoopInput extends CallsInput, Pick<ActiveJob, "withoutSlot"> {
  queue: string;
  /** Paid calls of earlier attempts, whose answers could not be used. */
  lost: readonly LostCall[];
  /** When the job failed that an operator has tried again, in epoch milliseconds. */
  failedAt: number | undefined;
  /** Told of the model that is called from now on. */
  onModel: (model: ModelRef) => void;
}

export interface CompletionOutcome {
  /** To be written. */
  record: ResultRecord;
  /** What the job adds to its conversation. */
  added: Message[];
  /** What a guardrail has put in the place of what was asked. */
  asked?: readonly Message[] | undefined;
  /** All that were paid, or came from the cache. */
  calls: readonly PaidCall[];
}
