import {
  ConcurrencyController,
  type ConcurrencyControllerOptions,
} from "../../src/limits/concurrency-controller.ts";

export const RESTING = { isBusy: false };

/** A virtual clock: events run in the order of their time. */
export class Simulation {
  nowMs = 0;
  readonly #events: { atMs: number; run: () => void }[] = [];

  after(delayMs: number, run: () => void): void {
    const atMs = this.nowMs + delayMs;
    let [low, high] = [0, this.#events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle]?.atMs ?? 0) > atMs) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, { atMs, run });
  }

  runUntil(atMs: number): void {
    for (let next = this.#events.at(-1); next && next.atMs <= atMs; next = this.#events.at(-1)) {
      this.#events.pop();
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = atMs;
  }
}

/** The fleet's token bucket: processes buy quanta from it in turn, each one at a time. */
export class SharedBudget {
  readonly quantum: number;
  readonly #simulation: Simulation;
  readonly #ratePerMs: number;
  readonly #maximum: number;
  readonly #buyers: (() => void)[] = [];
  #units = 0;
  #filledAtMs = 0;
  #isSelling = false;

  constructor(simulation: Simulation, ratePerSecond: number) {
    this.#simulation = simulation;
    this.#ratePerMs = ratePerSecond / 1000;
    this.quantum = Math.max(1, Math.round(ratePerSecond * 0.05));
    this.#maximum = Math.max(1, ratePerSecond * 0.7);
  }

  buy(bought: () => void): void {
    this.#buyers.push(bought);
    this.#sell();
  }

  #sell(): void {
    if (this.#isSelling || this.#buyers.length === 0) return;
    const { nowMs } = this.#simulation;
    this.#units = Math.min(this.#maximum, this.#units + (nowMs - this.#filledAtMs) * this.#ratePerMs);
    this.#filledAtMs = nowMs;
    this.#isSelling = true;
    const waitMs = Math.max(0, (this.quantum - this.#units) / this.#ratePerMs);
    this.#simulation.after(waitMs, () => {
      this.#units = Math.min(this.#maximum, this.#units + waitMs * this.#ratePerMs) - this.quantum;
      this.#filledAtMs = this.#simulation.nowMs;
      this.#isSelling = false;
      const bought = this.#buyers.shift();
      this.#simulation.after(BUY_MS, () => bought?.());
      this.#sell();
    });
  }
}

const BUY_MS = 2;
const FETCH_MS = 1;
const RECORD_MS = 5;

interface Provider {
  latencyMs: () => number;
  /** Refuses with 429 what comes on top. */
  maxInFlight?: number;
}

/** A worker process with an endless backlog: fetch → line → call → record, as many at a time as its controller says. */
export class SimulatedProcess {
  readonly controller: ConcurrencyController;
  readonly waitsMs: number[] = [];
  calls = 0;
  refusals = 0;
  inFlight = 0;
  active = 0;
  #allotment = 0;
  #isBuying = false;
  #isFetching = false;
  #isStopped = false;
  readonly #line: number[] = [];
  readonly #simulation: Simulation;
  readonly #budget: SharedBudget | undefined;
  readonly #provider: Provider;

  constructor(
    simulation: Simulation,
    budget: SharedBudget | undefined,
    provider: Provider,
    options: Partial<ConcurrencyControllerOptions> = {},
  ) {
    this.#simulation = simulation;
    this.#budget = budget;
    this.#provider = provider;
    this.controller = new ConcurrencyController({
      maxConcurrency: 1000,
      firstConcurrency: 8,
      load: RESTING,
      now: () => simulation.nowMs,
      onChange: () => this.#fetch(),
      ...options,
    });
    this.controller.knows(budget !== undefined);
    this.#fetch();
  }

  /** Takes no more jobs; those waiting go back. */
  stop(): void {
    this.#isStopped = true;
    this.#line.length = 0;
  }

  /** BullMQ fetches one job after the other; one that ends brings the next with it. */
  #fetch(): void {
    if (this.#isFetching || !this.#hasSlot()) return;
    this.#isFetching = true;
    this.active += 1;
    this.#simulation.after(FETCH_MS, () => {
      this.#isFetching = false;
      this.#begin();
      this.#fetch();
    });
  }

  #hasSlot(): boolean {
    return !this.#isStopped && this.active < this.controller.concurrency;
  }

  #begin(): void {
    this.#line.push(this.#simulation.nowMs);
    this.#pump();
  }

  #pump(): void {
    while (this.#line.length > 0) {
      if (this.#budget && this.#allotment < 1) {
        this.#buy(this.#budget);
        return;
      }
      this.#allotment -= 1;
      this.#call(this.#simulation.nowMs - (this.#line.shift() ?? 0));
    }
  }

  #buy(budget: SharedBudget): void {
    if (this.#isBuying) return;
    this.#isBuying = true;
    budget.buy(() => {
      this.#isBuying = false;
      this.#allotment += budget.quantum;
      this.#pump();
    });
  }

  #call(waitedMs: number): void {
    const startedAtMs = this.#simulation.nowMs;
    const isRefused = this.inFlight >= (this.#provider.maxInFlight ?? Number.POSITIVE_INFINITY);
    this.waitsMs.push(waitedMs);
    if (!isRefused) this.inFlight += 1;
    this.controller.granted(waitedMs);
    this.#simulation.after(isRefused ? 50 : this.#provider.latencyMs(), () => {
      if (isRefused) {
        this.refusals += 1;
        this.controller.limited(startedAtMs);
      } else {
        this.calls += 1;
        this.inFlight -= 1;
        this.controller.answered();
      }
      this.#simulation.after(RECORD_MS, () => this.#end());
    });
  }

  #end(): void {
    this.active -= 1;
    this.controller.update(this.active);
    if (this.#hasSlot()) {
      this.active += 1;
      this.#begin();
    }
    this.#fetch();
  }
}

export const constant = (latencyMs: number) => () => latencyMs;

/** Seeded, so that a run can be repeated. Its mean is `meanMs`. */
export function logNormal(meanMs: number, sigma = 1): () => number {
  let state = 42;
  const random = () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return (state + 1) / (2 ** 32 + 1);
  };
  const normal = () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
  return () => meanMs * Math.exp(sigma * normal() - sigma ** 2 / 2);
}

const mean = (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

/** What a fleet made of its budget between two moments. */
export function measure(
  simulation: Simulation,
  processes: SimulatedProcess[],
  { ratePerSecond, seconds }: { ratePerSecond: number; seconds: number },
) {
  const before = processes.map(({ waitsMs }) => waitsMs.length);
  simulation.runUntil(simulation.nowMs + seconds * 1000);
  const waits = processes.map(({ waitsMs }, index) => waitsMs.slice(before[index]));
  const granted = waits.map((own) => own.length);
  return { use: waits.flat().length / (ratePerSecond * seconds), waitMs: mean(waits.flat()), granted };
}
