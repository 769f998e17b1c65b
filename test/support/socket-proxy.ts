import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { temporaryFolder } from "./redis-folders.ts";

/** A way to a socket that a test can cut: what comes after finds nobody. */
export class SocketProxy {
  readonly path = join(temporaryFolder(), "proxy.sock");
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(target: string) {
    this.#server = createServer((client) => {
      const server = connect(target);
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          client.destroy();
          server.destroy();
        });
      }
      client.pipe(server).pipe(client);
    });
  }

  static async open(target: string): Promise<SocketProxy> {
    const proxy = new SocketProxy(target);
    proxy.#server.listen(proxy.path);
    await once(proxy.#server, "listening");
    return proxy;
  }

  /** Ends the connections that there are; new ones find the way. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** From now on nothing passes, and nobody is told. */
  hush(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.cut();
    await closed;
  }
}
