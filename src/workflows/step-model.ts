import { modelRef } from "../shared/model-name.ts";
import { completionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";

const OR = " or ";

/** What a completion's journal entry names: `entry:model`, or all that may answer. */
export function subjectOf(keys: readonly string[]): string {
  return keys.join(OR);
}

/** The queue of the completion that a journal entry names so. */
export function queueOf(subject = ""): string {
  if (subject.includes(OR)) return ROUTE_QUEUE;
  const separator = subject.indexOf(":");
  return completionQueueName(modelRef(subject.slice(0, separator), subject.slice(separator + 1)));
}
