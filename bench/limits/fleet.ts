import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { SenderOrder } from "./sender-order.ts";

const SENDER = join(import.meta.dirname, "sender.ts");

/** Sender processes that start together. */
export class Fleet implements AsyncDisposable {
  readonly #senders: ChildProcess[] = [];

  /** Resolves when all are ready; nothing is sent yet. */
  static async of(orders: readonly SenderOrder[]): Promise<Fleet> {
    const fleet = new Fleet();
    await Promise.all(orders.map((order) => fleet.#spawn(order)));
    return fleet;
  }

  start(): void {
    for (const sender of this.#senders) sender.stdin?.write("go\n");
  }

  /** One more, that starts at once. */
  async add(order: SenderOrder): Promise<void> {
    (await this.#spawn(order)).stdin?.write("go\n");
  }

  kill(index: number): void {
    this.#senders[index]?.kill("SIGKILL");
  }

  async #spawn(order: SenderOrder): Promise<ChildProcess> {
    // BullMQ sets timers into the past.
    const flags = ["--disable-warning=TimeoutNegativeWarning"];
    const sender = spawn(process.execPath, [...flags, SENDER, JSON.stringify(order)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    sender.stdin.on("error", () => {});
    this.#senders.push(sender);
    const ended = once(sender, "exit").then(() =>
      Promise.reject(new Error("a sender ended before it began")),
    );
    await Promise.race([once(sender.stdout, "data"), ended]);
    ended.catch(() => {});
    return sender;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#senders.filter((sender) => sender.exitCode === null && sender.signalCode === null);
    for (const sender of running) sender.kill("SIGKILL");
    await Promise.all(running.map((sender) => once(sender, "close")));
  }
}
