import { channel } from "node:diagnostics_channel";

const boundaries = channel("gluellm:rollout");

/** Says that a rollout has come to a place after which it goes on elsewhere; tests kill it there. */
export function publishRollout(at: string): void {
  if (boundaries.hasSubscribers) boundaries.publish({ at });
}
