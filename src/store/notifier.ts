import { setImmediate } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Store } from "./store.ts";
import type { Topic } from "./topics.ts";

/** Is told the subject of each message. */
type Listener = (subject: string) => void;

/** Subscriptions that nobody listens to are ended together, when there are so many of them, or after so long. */
const MAX_LEFT = 100;
const LEFT_MS = 100;

/** Those of this process who listen to one topic, and the subscription that they share. */
interface Subscription {
  listeners: Set<Listener>;
  made: Promise<unknown>;
}

/**
 * The messages of a namespace that this process listens to, over one connection that begins with the first listener.
 * After a lost connection ioredis subscribes again; what was published meanwhile is lost, so who waits also polls. So it
 * hears of what a process of version 0.1 did, which publishes on the namespace's one channel only.
 */
export class Notifier {
  readonly #store: Store;
  readonly #subscriptions = new Map<string, Subscription>();
  /** Topics whose last listener has gone. */
  readonly #left = new Set<string>();
  #leaveTimer: NodeJS.Timeout | undefined;
  /** The channels that the next command subscribes to. */
  #asked: { channels: string[]; made: Promise<unknown> } | undefined;
  #subscriber: Redis | undefined;

  /** @param store whose connection is duplicated */
  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Calls the listener of each topic for every message from now on, until it is disposed of. Resolves once Redis has
   * the subscriptions; while Redis is away it waits.
   * @throws Error when the notifier is closed meanwhile
   */
  async listen(listeners: { readonly [T in Topic]?: Listener }): Promise<Disposable> {
    const all = Object.entries(listeners).flatMap(([topic, listener]) =>
      listener ? [{ topic, listener }] : [],
    );
    const stop = () => {
      for (const { topic, listener } of all) this.#remove(topic, listener);
    };
    try {
      await Promise.all(all.map(({ topic, listener }) => this.#add(topic, listener)));
    } catch (error) {
      stop();
      throw error;
    }
    return { [Symbol.dispose]: stop };
  }

  #add(topic: string, listener: Listener): Promise<unknown> {
    const known = this.#subscriptions.get(topic);
    if (known) {
      known.listeners.add(listener);
      return known.made;
    }
    const made = this.#subscribe(this.#channelOf(topic));
    const subscription = { listeners: new Set([listener]), made };
    this.#subscriptions.set(topic, subscription);
    made.catch(() => {
      if (this.#subscriptions.get(topic) === subscription) this.#subscriptions.delete(topic);
    });
    return made;
  }

  #channelOf(topic: string): string {
    const { keys } = this.#store;
    return topic === ("all" satisfies Topic) ? keys.channel : keys.topic(topic);
  }

  /** Those of one turn of the event loop are one command. */
  #subscribe(channel: string): Promise<unknown> {
    if (this.#asked) this.#asked.channels.push(channel);
    else {
      const channels = [channel];
      const { connection } = this;
      const made = setImmediate().then(() => {
        this.#asked = undefined;
        return connection.subscribe(...channels);
      });
      this.#asked = { channels, made };
    }
    return this.#asked.made;
  }

  #remove(topic: string, listener: Listener): void {
    const subscription = this.#subscriptions.get(topic);
    if (!subscription?.listeners.delete(listener) || subscription.listeners.size > 0) return;
    this.#left.add(topic);
    if (this.#left.size >= MAX_LEFT) this.#leave();
    else this.#leaveTimer ??= setTimeout(() => this.#leave(), LEFT_MS).unref();
  }

  #leave(): void {
    clearTimeout(this.#leaveTimer);
    this.#leaveTimer = undefined;
    const topics = [...this.#left].filter((topic) => this.#subscriptions.get(topic)?.listeners.size === 0);
    this.#left.clear();
    for (const topic of topics) this.#subscriptions.delete(topic);
    if (topics.length > 0)
      this.#subscriber?.unsubscribe(...topics.map((topic) => this.#channelOf(topic))).catch(() => {});
  }

  /** The connection for subscriptions, opened when it is first asked for; others may add subscriptions of their own. */
  get connection(): Redis {
    if (this.#subscriber) return this.#subscriber;
    const { redis, keys } = this.#store;
    const subscriber = redis.duplicate({ connectionName: "gluellm:subscriber" });
    this.#subscriber = subscriber;
    // The command connection's listener reports faults.
    subscriber.on("error", () => {});
    subscriber.on("message", (channel: string, text: string) => {
      if (channel === keys.channel) this.#tell("all", text);
      else if (channel.startsWith(keys.topic(""))) this.#tell(channel.slice(keys.topic("").length), text);
    });
    return subscriber;
  }

  #tell(topic: string, subject: string): void {
    for (const listener of this.#subscriptions.get(topic)?.listeners ?? []) listener(subject);
  }

  /** Ends the connection at once: nobody hears anything more. */
  close(): void {
    clearTimeout(this.#leaveTimer);
    this.#subscriber?.disconnect();
  }
}
