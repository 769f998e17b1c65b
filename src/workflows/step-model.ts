import { type ModelRef, modelRef } from "../shared/model-name.ts";

/** The model that a completion's journal entry names as `entry:model`. */
export function modelOf(subject = ""): ModelRef {
  const separator = subject.indexOf(":");
  return modelRef(subject.slice(0, separator), subject.slice(separator + 1));
}
