import { createConnection, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { AbstractConnector, Redis, type RedisOptions } from "ioredis";
import type { RedisGroup } from "../shared/redis-url.ts";

/** What a node is asked in, connection included. */
const ASK_MS = 5000;

interface Address {
  host: string;
  port: number;
}

/** As a node tells of another one: an empty address is its own. */
type SlotNode = readonly [host: string | null, port: number, ...more: unknown[]];

/**
 * Returns the connector of a connection to the node of a Redis Cluster that has the slot of `slotKey` now. It asks for that node at every
 * connect, so that a connection which is lost, or refused with MOVED, goes on with the node that has taken over. All keys of a
 * namespace share a slot: a plain connection does for all commands, transactions and scripts of it.
 */
export function slotConnector(
  { hosts, isTls, username, password }: RedisGroup,
  slotKey: string,
): NonNullable<RedisOptions["Connector"]> {
  /** Those that were named and those that were heard of, the latest first. */
  let known: Address[] = [...hosts];
  /** The connections that are open, copies of the first one included. One hears of a take-over, and all go on elsewhere. */
  const open = new Map<AbstractConnector, { address: Address; socket: Socket }>();

  return class SlotConnector extends AbstractConnector {
    readonly #options: RedisOptions;

    constructor(options: unknown) {
      super((options as RedisOptions).disconnectTimeout ?? 2000);
      this.#options = options as RedisOptions;
    }

    override check({ role }: { role?: string }): boolean {
      return role !== "slave";
    }

    async connect() {
      this.connecting = true;
      const { host, port } = await this.#find();
      for (const { address, socket } of open.values()) if (!isSame(address, { host, port })) socket.destroy();
      const stream = isTls
        ? connectTls({ host, port, ...this.#options.tls })
        : createConnection({ host, port });
      stream.once("error", (error) => {
        this.firstError = error;
      });
      this.stream = stream;
      open.set(this, { address: { host, port }, socket: stream });
      return stream;
    }

    override disconnect(): void {
      open.delete(this);
      super.disconnect();
    }

    /** Asks until a node says who has the slot, as often as the connection's own strategy retries. */
    async #find(): Promise<Address> {
      for (let attempt = 1; ; attempt++) {
        let fault: unknown;
        for (const address of known) {
          try {
            const { primary, all } = await ask(address);
            if (!this.connecting) throw new Error("Connection is closed.");
            known = [...all, ...hosts.filter((named) => !all.some((other) => isSame(named, other)))];
            return primary;
          } catch (error) {
            fault ??= error;
          }
          if (!this.connecting) break;
        }
        const waitMs = this.connecting ? this.#options.retryStrategy?.(attempt) : undefined;
        if (typeof waitMs !== "number") throw fault;
        await delay(waitMs);
      }
    }
  };

  async function ask({ host, port }: Address): Promise<{ primary: Address; all: Address[] }> {
    const node = new Redis({
      ...{
        host,
        port,
        lazyConnect: true,
        connectTimeout: ASK_MS,
        commandTimeout: ASK_MS,
        disconnectTimeout: 50,
      },
      ...{ retryStrategy: () => null, maxRetriesPerRequest: 0, enableReadyCheck: false },
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(isTls && { tls: {} }),
    });
    let met: Error | undefined;
    node.on("error", (error: Error) => {
      met ??= error;
    });
    try {
      await node.connect();
      const slot = Number(await node.cluster("KEYSLOT", slotKey));
      const ranges = await node.cluster("SLOTS");
      const toAddress = ([ip, at]: SlotNode): Address => ({ host: ip || host, port: Number(at) });
      const nodesOf = ([, , ...nodes]: (typeof ranges)[number]) => nodes.map(toAddress);
      const range = ranges.find(([from, to]) => from <= slot && slot <= to);
      const [primary, ...replicas] = range ? nodesOf(range) : [];
      if (!primary) throw new Error(`CLUSTERDOWN no node has slot ${slot}`);
      return { primary, all: [...replicas, primary, ...ranges.flatMap(nodesOf)] };
    } catch (error) {
      throw met ?? error;
    } finally {
      node.disconnect();
    }
  }
}

function isSame(one: Address, other: Address): boolean {
  return one.host === other.host && one.port === other.port;
}
