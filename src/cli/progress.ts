import type { BatchRun } from "../batch/batch-run.ts";
import { readQueueStates } from "../producers/queue-states.ts";
import { type LimitInForce, limitsOf } from "../shared/budget.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import { usd } from "../shared/usd.ts";
import { readBatch } from "../store/batch.ts";
import { readLearnedLimits } from "../store/learned-limits.ts";
import type { Store } from "../store/store.ts";
import { usagePerMinute } from "../store/usage.ts";
import { type Interruption, STOPPING } from "./exit.ts";
import { createLiveText } from "./live-text.ts";
import { waitsForText } from "./queues.ts";
import { count } from "./report.ts";

const TERMINAL_MS = 500;
const PLAIN_MS = 3000;
const MAX_MODELS = 4;
/** The rate shown is of this long, so that it follows a pause or a resume. */
const RATE_WINDOW_MS = 10_000;
/** After so long without a result the reasons are asked for. */
const STILL_MS = 3000;

interface ProgressOptions {
  store: Store;
  settings: Settings;
  run: BatchRun;
  interruption: Interruption;
}

/** Shows where a batch stands on standard error: in place on a terminal, a line every few seconds elsewhere. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #terminal = process.stderr.isTTY ? createLiveText() : undefined;
  readonly #samples: { at: number; done: number }[] = [];
  #still = { done: -1, since: Date.now() };
  #timer: NodeJS.Timeout | undefined;
  #drawing: Promise<void> = Promise.resolve();

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  start(): void {
    const draw = () => {
      this.#drawing = this.#draw().catch(() => {});
    };
    draw();
    this.#timer = setInterval(draw, this.#terminal ? TERMINAL_MS : PLAIN_MS);
  }

  /** Shows the last state once more and leaves it standing. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#drawing;
    // With Redis gone the last picture is not worth waiting for.
    if (this.#options.store.redis.status === "ready") await this.#draw().catch(() => {});
    this.#terminal?.done();
  }

  async #draw(): Promise<void> {
    const lines = [
      this.#rowsLine(),
      ...this.#costLines(),
      ...(await this.#limitLines()),
      ...(await this.#reasons()),
    ];
    // On a terminal the notice must be part of the picture: printed beside it, it would be overwritten.
    if (this.#terminal && this.#options.interruption.signal.aborted) lines.push(STOPPING);
    if (this.#terminal) this.#terminal([bar(this.#share(), 30), ...lines].join("\n"));
    else process.stderr.write(`${lines.join(" · ")}\n`);
  }

  #share(): number {
    const { total, missing } = this.#options.run.progress();
    return total === 0 ? 1 : (total - missing) / total;
  }

  #rowsLine(): string {
    const { total, missing, failed, isCounted } = this.#options.run.progress();
    const done = total - missing;
    const rate = this.#rowsPerSecond(done);
    const isDone = missing === 0 && isCounted;
    const eta = isDone ? "done" : rate > 0 && isCounted ? `ETA ${duration(missing / rate)}` : "ETA …";
    return `${count(done)}/${count(total)} rows${isCounted ? "" : " so far"} done · ${count(failed)} failed · ${rate.toFixed(1)} rows/s · ${eta}`;
  }

  /** What is spent, and what the batch will have cost when the missing rows cost what the others did. */
  #costLines(): string[] {
    const { succeeded, missing, isCounted, costUsd: spent } = this.#options.run.progress();
    if (spent === null || succeeded === 0) return [];
    if (!isCounted) return [`${usd(spent)} so far`];
    return [`${usd(spent)} of about ${usd((spent / succeeded) * (succeeded + missing))}`];
  }

  /** Why nothing moves, when nothing does. */
  async #reasons(): Promise<string[]> {
    const { store, settings, run } = this.#options;
    const { total, missing } = run.progress();
    const now = Date.now();
    if (this.#still.done !== total - missing) this.#still = { done: total - missing, since: now };
    if (missing === 0 || now - this.#still.since < STILL_MS) return [];
    const states = await readQueueStates(store, settings, run.models.map(completionQueueName));
    return states.filter(({ waitsFor }) => waitsFor.length > 0).map(waitsForText);
  }

  #rowsPerSecond(done: number): number {
    const now = Date.now();
    this.#samples.push({ at: now, done });
    while (this.#samples.length > 2 && now - (this.#samples[0]?.at ?? now) > RATE_WINDOW_MS)
      this.#samples.shift();
    const first = this.#samples[0];
    return first && now > first.at ? ((done - first.done) / (now - first.at)) * 1000 : 0;
  }

  async #limitLines(): Promise<string[]> {
    const { store, settings, run } = this.#options;
    const { retries = 0, rateLimited = 0 } = (await readBatch(store, run.id)) ?? {};
    const learned = await readLearnedLimits(store);
    const lines = await Promise.all(
      run.models.slice(0, MAX_MODELS).map(async ({ key }) => {
        const used = await usagePerMinute(store, key, run.startedAt);
        const limits = limitsOf(settings.limits, learned, key);
        const tokens = limits.tpm ?? limits.itpm;
        const inOut =
          !limits.tpm && limits.itpm ? ` in · ${ofLimit(used.outputTokens, limits.otpm)} out` : "";
        const counted = inOut ? used.tokens - used.outputTokens : used.tokens;
        return `${key} RPM ${ofLimit(used.requests, limits.rpm)} · TPM ${ofLimit(counted, tokens)}${inOut}`;
      }),
    );
    lines.push(`429s ${count(rateLimited)} · retries ${count(retries)}`);
    return lines;
  }
}

function ofLimit(used: number, limit: LimitInForce | undefined): string {
  if (!limit) return `${count(used)} (no limit known)`;
  return `${count(used)} of ${count(limit.perMinute)}${limit.source === "learned" ? " learned" : ""}`;
}

function bar(share: number, width: number): string {
  const full = Math.round(share * width);
  return `${"█".repeat(full)}${"░".repeat(width - full)} ${Math.floor(share * 100)} %`;
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
