import { styleText } from "node:util";
import type { BatchRun } from "../../batch/batch-run.ts";
import type { Settings } from "../../shared/settings.ts";
import type { Store } from "../../store/store.ts";
import { type Interruption, STOPPING } from "../exit.ts";
import { BatchCamera, type BatchPicture } from "./batch-picture.ts";
import { NO_FLEET, readFleet } from "./fleet-view.ts";
import { createLiveText } from "./live-text.ts";
import { plainLine } from "./plain-line.ts";

const TERMINAL_MS = 250;
const PLAIN_MS = 3000;
/** What Redis is asked for is this old at most. */
const READ_MS = 1000;

interface ProgressOptions {
  store: Store;
  settings: Settings;
  run: BatchRun;
  interruption: Interruption;
  /** The files' names as the user wrote them. */
  input: string;
  output: string;
  maxCostUsd: number | undefined;
  /** What a person should know all the time. */
  notices: readonly string[];
}

/** Shows where a batch stands on standard error: in place on a terminal, a line every few seconds elsewhere. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #camera: BatchCamera;
  readonly #view: (picture: BatchPicture) => void;
  readonly #live;
  #fleet = NO_FLEET;
  #reading: Promise<void> | undefined;
  readonly #timers: NodeJS.Timeout[] = [];

  private constructor(options: ProgressOptions, frame: typeof import("./frame.ts").frame | undefined) {
    this.#options = options;
    this.#camera = new BatchCamera(options.run, options);
    const live = frame && createLiveText();
    this.#live = live;
    this.#view = (picture) => {
      if (!frame || !live) return void process.stderr.write(`${plainLine(picture)}\n`);
      const { columns = 80, rows = 24 } = process.stderr;
      live.draw(frame(picture, { columns, rows: Math.max(2, rows - 1), paint }));
    };
  }

  static async start(options: ProgressOptions): Promise<Progress> {
    const isLive = process.stderr.isTTY && options.settings.system.terminal !== "dumb";
    // Most commands draw nothing: what draws is loaded here.
    const progress = new Progress(options, isLive ? (await import("./frame.ts")).frame : undefined);
    if (!isLive) for (const notice of options.notices) process.stderr.write(`${notice}\n`);
    await progress.#read();
    progress.#draw();
    progress.#timers.push(setInterval(() => void progress.#read(), READ_MS));
    progress.#timers.push(setInterval(() => progress.#draw(), isLive ? TERMINAL_MS : PLAIN_MS));
    return progress;
  }

  /** Shows the last state once more and leaves it standing. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    // With Redis gone the last figures are not worth waiting for.
    if (this.#isConnected) await this.#read();
    this.#draw({ isOver: true });
    this.#live?.end();
  }

  get #isConnected(): boolean {
    return this.#options.store.redis.status === "ready";
  }

  /** One reading at a time; what fails leaves what was read before. */
  #read(): Promise<void> {
    const { store, settings, run } = this.#options;
    this.#reading ??= readFleet(store, settings, run)
      .then((fleet) => {
        this.#fleet = fleet;
      })
      .catch(() => {})
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  #draw({ isOver = false } = {}): void {
    const { interruption, notices } = this.#options;
    const isEnding = interruption.signal.aborted;
    const fleet = this.#isConnected ? this.#fleet : { ...this.#fleet, waitsFor: ["Redis does not answer"] };
    const isLive = this.#live !== undefined;
    // On a terminal the notice must be part of the picture.
    const shown = isLive && isEnding && !isOver ? [STOPPING, ...notices] : isLive ? notices : [];
    this.#view(this.#camera.take({ fleet, isEnding, isOver, notices: shown }));
  }
}

/** Paints a text for standard error: as it is where that shows no colours, or NO_COLOR is set. */
export function paint(text: string, style: Parameters<typeof styleText>[0] | undefined): string {
  return style ? styleText(style, text, { stream: process.stderr }) : text;
}
