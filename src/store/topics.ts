import type { ChainableCommander } from "ioredis";
import type { RedisKeys } from "./redis-keys.ts";
import type { Store } from "./store.ts";

/** A message of these goes to every process that listens to the topic; it says what it is about. */
export type FleetTopic = "queue" | "stop" | "cancel" | "breaker" | "limits" | "pause" | "cache";
/** Each subject of these has a channel of its own: the id of a job or run, a batch, a run, a job. */
type SubjectTopic = "result" | "batch" | "workflow" | "stream";
/** What a process can listen to; `all`: each message of the others, as `<topic>:<subject>`. */
export type Topic = FleetTopic | `${SubjectTopic}:${string}` | "all";

const SUBJECT_TOPICS: readonly string[] = ["result", "batch", "workflow", "stream"] satisfies SubjectTopic[];

/**
 * Lua: `notify(topic, subject)` wakes who listens to it. It needs a local `channel`, which is `keys.channel`:
 *
 *     new Script({ args: { channel: "text", id: "text" }, lua: `${NOTIFY} … notify('result', id)` })
 *
 * Processes of version 0.1 know the one channel of the namespace only, which is also the topic `all`.
 */
export const NOTIFY = `
  local function notify(topic, subject)
    local ofOne = ${SUBJECT_TOPICS.map((topic) => `topic == '${topic}'`).join(" or ")}
    redis.call('PUBLISH', channel .. ':' .. topic .. (ofOne and ':' .. subject or ''), subject)
    redis.call('PUBLISH', channel, topic .. ':' .. subject)
  end
`;

/** Adds to a pipeline or transaction what `NOTIFY` does in a script. */
export function publish<P extends ChainableCommander>(
  pipeline: P,
  keys: RedisKeys,
  topic: FleetTopic | SubjectTopic,
  subject: string,
): P {
  const message = `${topic}:${subject}`;
  const channel = keys.topic(SUBJECT_TOPICS.includes(topic) ? message : topic);
  pipeline.publish(channel, subject).publish(keys.channel, message);
  return pipeline;
}

/** Wakes who listens to the topic. */
export async function notify(store: Store, topic: FleetTopic | SubjectTopic, subject: string): Promise<void> {
  await publish(store.redis.pipeline(), store.keys, topic, subject).exec();
}
