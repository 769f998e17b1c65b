import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, request } from "node:http";
import type { AddressInfo } from "node:net";

export type Headers = IncomingHttpHeaders;

/** A server before the provider that changes the headers of its answers, since the simulator always states its limits. */
export class HeaderProxy implements AsyncDisposable {
  readonly #server;

  private constructor(providerUrl: string, change: (headers: Headers) => Headers) {
    this.#server = createServer((asked, reply) => {
      const { method, headers } = asked;
      const call = request(`${providerUrl}${asked.url}`, { method, headers }, (answer) => {
        reply.writeHead(answer.statusCode ?? 500, change(answer.headers));
        answer.pipe(reply);
      });
      call.on("error", () => reply.destroy());
      asked.pipe(call);
    });
  }

  static async before(providerUrl: string, change: (headers: Headers) => Headers): Promise<HeaderProxy> {
    const proxy = new HeaderProxy(providerUrl, change);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
