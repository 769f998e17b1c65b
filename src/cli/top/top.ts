import { styleText } from "node:util";
import type { Command } from "commander";
import { pauseQueue, resumeQueue } from "../../producers/resume-queue.ts";
import { createLogger } from "../../shared/logger.ts";
import { Rate } from "../../shared/rate.ts";
import { loadSettings, type Settings } from "../../shared/settings.ts";
import type { ConnectedStore } from "../../store/connected-store.ts";
import { openRedis } from "../compose.ts";
import { onInterruption } from "../exit.ts";
import { jsonText } from "../output.ts";
import { createLiveText } from "../progress/live-text.ts";
import type { Paint } from "../progress/text-layout.ts";
import { type FleetPicture, readFleetPicture } from "./fleet-picture.ts";
import { topFrame } from "./top-frame.ts";

const READ_MS = 1000;
const KEYS = { up: "\u001b[A", down: "\u001b[B", interrupt: "\u0003" } as const;
/** The alternate screen of a terminal: what stood there before comes back at the end. */
const SCREEN = { enter: "\u001b[?1049h\u001b[H", leave: "\u001b[?1049l" } as const;

interface TopOptions {
  once?: boolean;
  json?: boolean;
}

/** `gluellm top`. */
export function addTopCommand(program: Command): void {
  program
    .command("top")
    .description("Watch the fleet: queues, budgets, rates, waits, workers, spend, errors.")
    .option("--once", "print it once and end; so it is where there is no terminal")
    .option("--json", "print it once as JSON")
    .addHelpText("after", "\nKeys: ↑ ↓ choose a queue, p pauses or resumes it, q ends.")
    .action(async ({ once = false, json = false }: TopOptions) => {
      const settings = loadSettings();
      const logger = createLogger({ ...settings.log, level: settings.log.level ?? "warn" });
      await using host = await openRedis(settings, logger);
      const isLive = process.stdout.isTTY && process.stdin.isTTY && settings.system.terminal !== "dumb";
      if (isLive && !once && !json) return await new Watch(host.store, settings).run();
      const picture = await readFleetPicture(host.store, settings);
      process.stdout.write(json ? `${jsonText(picture)}\n` : `${drawnOnce(picture).join("\n")}\n`);
    });
}

const paint: Paint = (text, style) => (style ? styleText(style, text, { stream: process.stdout }) : text);

function drawnOnce(picture: FleetPicture): string[] {
  const { columns = 80 } = process.stdout;
  const still = { rates: new Map(), chosen: undefined, notice: undefined, foot: undefined };
  return topFrame(picture, { columns, rows: undefined, paint, ...still });
}

/** The live view, until somebody ends it. */
class Watch {
  readonly #store: ConnectedStore;
  readonly #settings: Settings;
  readonly #rates = new Map<string, Rate>();
  readonly #ended = Promise.withResolvers<void>();
  #picture: FleetPicture | undefined;
  #perSecond = new Map<string, number>();
  #chosen = 0;
  #reading = false;
  #readAt = 0;
  #fault: string | undefined;
  /** What `p` asks before it does it, and what it did. */
  #question: { queue: string; isPaused: boolean } | undefined;
  #said: string | undefined;
  readonly #live = createLiveText(process.stdout);

  constructor(store: ConnectedStore, settings: Settings) {
    this.#store = store;
    this.#settings = settings;
  }

  async run(): Promise<void> {
    const interruption = onInterruption(undefined);
    interruption.signal.addEventListener("abort", () => this.#ended.resolve());
    const { stdin, stdout } = process;
    stdout.write(SCREEN.enter);
    stdin.setRawMode(true).setEncoding("utf8").on("data", this.#onKeys).resume();
    stdout.on("resize", this.#draw);
    const timer = setInterval(() => void this.#read(), READ_MS);
    try {
      await this.#read();
      await this.#ended.promise;
    } finally {
      clearInterval(timer);
      stdout.off("resize", this.#draw);
      stdin.off("data", this.#onKeys).setRawMode(false).pause();
      this.#live.end();
      stdout.write(SCREEN.leave);
      interruption.release();
      process.exitCode = interruption.exitCode ?? 0;
    }
  }

  /** One reading at a time: while Redis is away the last picture stands, and says so. */
  async #read(): Promise<void> {
    if (!this.#reading) {
      this.#reading = true;
      void readFleetPicture(this.#store, this.#settings)
        .then((picture) => this.#take(picture))
        .catch((error: Error) => {
          this.#fault = error.message;
        })
        .finally(() => {
          this.#reading = false;
          this.#draw();
        });
    }
    this.#draw();
  }

  #take(picture: FleetPicture): void {
    this.#picture = picture;
    this.#readAt = Date.now();
    this.#fault = undefined;
    const before = this.#rates;
    this.#perSecond = new Map(
      picture.workers.map(({ id, jobs }) => {
        const rate = before.get(id) ?? new Rate();
        before.set(id, rate);
        return [id, rate.add(jobs?.ended ?? 0)];
      }),
    );
    for (const id of before.keys()) if (!this.#perSecond.has(id)) before.delete(id);
  }

  readonly #draw = (): void => {
    const picture = this.#picture;
    if (!picture) return void this.#live.draw(["asking Redis …"]);
    const { columns = 80, rows = 24 } = process.stdout;
    this.#chosen = Math.max(0, Math.min(this.#chosen, picture.queues.length - 1));
    const foot = this.#question
      ? `${this.#question.isPaused ? "resume" : "pause"} ${this.#question.queue}? y: yes, any other key: no`
      : (this.#said ?? "q quit · ↑↓ choose a queue · p pause or resume it");
    this.#live.draw(
      topFrame(picture, {
        ...{ columns, rows: Math.max(3, rows - 1), paint, foot },
        rates: this.#perSecond,
        chosen: picture.queues.length > 0 ? this.#chosen : undefined,
        notice: this.#notice(),
      }),
    );
  };

  #notice(): string | undefined {
    const ageMs = Date.now() - this.#readAt;
    if (this.#store.redis.status !== "ready" || ageMs > 5 * READ_MS)
      return `Redis does not answer; this is ${Math.round(ageMs / 1000)} s old`;
    return this.#fault && `it cannot be read: ${this.#fault}`;
  }

  /** Keys that come fast come together. */
  readonly #onKeys = (text: string): void => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: keys of a terminal
    for (const key of text.match(/\u001b\[[A-Z]|[\s\S]/g) ?? []) this.#onKey(key);
    this.#draw();
  };

  #onKey(text: string): void {
    const question = this.#question;
    this.#said = undefined;
    if (question && text !== KEYS.interrupt) {
      this.#question = undefined;
      if (text === "y") void this.#change(question);
    } else if (text === "q" || text === KEYS.interrupt) this.#ended.resolve();
    else if (text === KEYS.up || text === "k") this.#chosen--;
    else if (text === KEYS.down || text === "j") this.#chosen++;
    else if (text === "p") {
      const queue = this.#picture?.queues[this.#chosen];
      if (queue) this.#question = { queue: queue.key, isPaused: queue.isPaused };
    }
  }

  async #change({ queue, isPaused }: { queue: string; isPaused: boolean }): Promise<void> {
    try {
      if (isPaused) await resumeQueue(this.#store, this.#settings, queue);
      else await pauseQueue(this.#store, queue);
      this.#said = `${isPaused ? "resumed" : "paused"} ${queue}`;
    } catch (error) {
      this.#said = (error as Error).message;
    }
    await this.#read();
  }
}
