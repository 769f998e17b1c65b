import { setTimeout as delay } from "node:timers/promises";
import type { StartedProcess } from "../support/processes.ts";

interface Place {
  kind: string;
  process: StartedProcess;
  /** The named point at which it can be killed. */
  point: string | undefined;
  /** A stopped one is not hit again before it goes on. */
  isStopped: boolean;
  /** Is not started again. */
  isDone: boolean;
}

/** Longer than a job's lock lasts. */
const STOPPED_MS = 6000;
const RESTART_MS = 200;
/** Within this time a process comes to its point, or is not killed there. */
const POINT_MS = 3000;
const MAX_FAILURES = 100;

/** The processes of a round, each of which is started again when it ends. */
export class Fleet implements AsyncDisposable {
  /** SIGKILLs, by what they hit. */
  readonly deaths: Record<string, number> = {};
  /** When processes that stood still went on, in epoch milliseconds. */
  readonly resumedAt: number[] = [];
  readonly #draw: (below: number) => number;
  readonly #places: Place[] = [];
  readonly #stopped: Promise<void>[] = [];

  constructor(draw: (below: number) => number) {
    this.#draw = draw;
  }

  /** Keeps a process running. @param point at which it can be killed, see `kill-point.ts` */
  kept(
    kind: string,
    start: () => StartedProcess,
    { point, process = start() }: { point?: string; process?: StartedProcess } = {},
  ): void {
    const place = this.#place(kind, process, point);
    const keep = async () => {
      while (!place.isDone) {
        await place.process.exit;
        await delay(RESTART_MS);
        if (!place.isDone) place.process = start();
      }
    };
    void keep();
  }

  /** Gives a command again until it ends well. @throws Error with what it printed, after too many bad ends */
  async restarted(kind: string, start: () => StartedProcess): Promise<void> {
    const place = this.#place(kind, start());
    for (let failures = 0; ; place.process = start()) {
      const code = await place.process.exit;
      if (code === 0) break;
      // It may be told that Redis is away or the disk full, or that the one before still holds the file.
      if (code !== "SIGKILL") failures += 1;
      if (failures > MAX_FAILURES)
        throw new Error(`${kind} ended with ${code}: ${place.process.stderr().slice(-500)}`);
      await delay(RESTART_MS);
    }
    place.isDone = true;
  }

  #place(kind: string, process: StartedProcess, point?: string): Place {
    const place = { kind, process, point, isStopped: false, isDone: false };
    this.#places.push(place);
    return place;
  }

  /** Kills one of those alive. Returns false when there is none. */
  kill(): boolean {
    const place = this.#drawn(() => true);
    place?.process.child.kill("SIGKILL");
    if (place) this.count(place.kind);
    return place !== undefined;
  }

  /** Lets a process be killed at its named point. Returns false when none has come to it. */
  async killAtPoint(): Promise<boolean> {
    const place = this.#drawn(({ point }) => point !== undefined);
    if (!place) return false;
    const { child, exit } = place.process;
    child.kill("SIGUSR2");
    const end = await Promise.race([exit, delay(POINT_MS, undefined, { ref: false })]);
    if (end === "SIGKILL") this.count(`${place.kind} at ${place.point}`);
    return end === "SIGKILL";
  }

  /** Holds up a worker beyond its locks, then lets it go on: its late words must change nothing. */
  stop(): void {
    const place = this.#drawn(({ kind }) => kind === "worker");
    if (!place) return;
    const { child } = place.process;
    place.isStopped = true;
    child.kill("SIGSTOP");
    const goOn = async () => {
      await delay(STOPPED_MS);
      child.kill("SIGCONT");
      place.isStopped = false;
      this.resumedAt.push(Date.now());
    };
    this.#stopped.push(goOn());
  }

  /** Resolves when none stands still. */
  async allGoOn(): Promise<void> {
    await Promise.all(this.#stopped);
  }

  /** Says of each place whether its process lives, and what it said last. */
  state(): { kind: string; end: unknown; said: string }[] {
    return this.#places.map(({ kind, process: { child, stderr } }) => ({
      ...{ kind, end: child.exitCode ?? child.signalCode },
      said: stderr().slice(-3000),
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const place of this.#places) {
      place.isDone = true;
      place.process.child.kill("SIGKILL");
      await place.process.exit;
    }
  }

  /** One of the places whose process is alive and fits. */
  #drawn(fits: (place: Place) => boolean): Place | undefined {
    const alive = this.#places.filter((place) => {
      const { child } = place.process;
      return (
        !place.isDone &&
        !place.isStopped &&
        child.exitCode === null &&
        child.signalCode === null &&
        fits(place)
      );
    });
    return alive[this.#draw(alive.length)];
  }

  get deathCount(): number {
    return Object.values(this.deaths).reduce((sum, deaths) => sum + deaths, 0);
  }

  count(kind: string): void {
    this.deaths[kind] = (this.deaths[kind] ?? 0) + 1;
  }
}
