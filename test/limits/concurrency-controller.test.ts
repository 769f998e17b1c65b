import { expect, test } from "vitest";
import {
  ConcurrencyController,
  type ConcurrencyControllerOptions,
} from "../../src/limits/concurrency-controller.ts";
import {
  constant,
  logNormal,
  measure,
  RESTING,
  SharedBudget,
  SimulatedProcess,
  Simulation,
} from "../support/simulated-fleet.ts";

test.each([
  { ratePerSecond: 100, latencySeconds: 0.2, processes: 1, latency: "constant" },
  { ratePerSecond: 100, latencySeconds: 0.2, processes: 3, latency: "log-normal" },
  { ratePerSecond: 100, latencySeconds: 0.2, processes: 8, latency: "constant" },
  { ratePerSecond: 100, latencySeconds: 0.2, processes: 8, latency: "log-normal" },
  { ratePerSecond: 100, latencySeconds: 3, processes: 3, latency: "constant" },
  { ratePerSecond: 100, latencySeconds: 3, processes: 3, latency: "log-normal" },
  { ratePerSecond: 10, latencySeconds: 60, processes: 2, latency: "log-normal" },
  { ratePerSecond: 2, latencySeconds: 10, processes: 2, latency: "constant" },
  { ratePerSecond: 2, latencySeconds: 10, processes: 2, latency: "log-normal" },
])(
  "$processes processes use $ratePerSecond/s at $latencySeconds s ($latency) and their jobs hardly wait",
  ({ ratePerSecond, latencySeconds, processes, latency }) => {
    const simulation = new Simulation();
    const budget = new SharedBudget(simulation, ratePerSecond);
    const latencyMs = (latency === "constant" ? constant : logNormal)(latencySeconds * 1000);
    const fleet = Array.from(
      { length: processes },
      () => new SimulatedProcess(simulation, budget, { latencyMs }),
    );
    simulation.runUntil(2000);
    const { use, waitMs } = measure(simulation, fleet, { ratePerSecond, seconds: 120 });
    expect(use).toBeGreaterThan(0.97);
    // With a job in every line at all times, none can wait for less than processes / rate.
    expect(waitMs).toBeLessThan(Math.max(1000, (1100 * processes) / ratePerSecond));
  },
);

test("a process that joins gets its share, and the others take over the share of one that leaves", () => {
  const simulation = new Simulation();
  const ratePerSecond = 100;
  const budget = new SharedBudget(simulation, ratePerSecond);
  const join = () => new SimulatedProcess(simulation, budget, { latencyMs: logNormal(3000) });
  const fleet = [join()];
  simulation.runUntil(20_000);
  const alone = fleet[0]?.controller.concurrency ?? 0;

  fleet.push(join());
  simulation.runUntil(simulation.nowMs + 3000);
  const together = measure(simulation, fleet, { ratePerSecond, seconds: 30 });
  expect(together.use).toBeGreaterThan(0.97);
  expect(Math.min(...together.granted) / Math.max(...together.granted), "shares").toBeGreaterThan(0.9);
  expect(fleet[0]?.controller.concurrency).toBeLessThan(0.7 * alone);

  fleet.pop()?.stop();
  simulation.runUntil(simulation.nowMs + 1000);
  const after = measure(simulation, fleet, { ratePerSecond, seconds: 30 });
  expect(after.use).toBeGreaterThan(0.97);
  expect(fleet[0]?.controller.concurrency).toBeGreaterThan(0.8 * alone);
});

test("a provider without limits and latency gets every slot within milliseconds", () => {
  const simulation = new Simulation();
  const options = { maxConcurrency: 250 };
  const process = new SimulatedProcess(simulation, undefined, { latencyMs: constant(0) }, options);
  expect(process.controller.concurrency, "firstConcurrency").toBe(8);
  simulation.runUntil(100);
  expect(process.controller.concurrency).toBeGreaterThanOrEqual(50);
  simulation.runUntil(1000);
  expect(process.controller.concurrency, "maxConcurrency").toBe(250);
});

test("a provider that only says 429 is called near what it bears", () => {
  const simulation = new Simulation();
  const provider = { latencyMs: logNormal(500, 0.5), maxInFlight: 40 };
  const process = new SimulatedProcess(simulation, undefined, provider);
  simulation.runUntil(30_000);
  const [calls, refusals] = [process.calls, process.refusals];
  simulation.runUntil(330_000);
  const callsPerSecond = (process.calls - calls) / 300;
  expect(callsPerSecond / (40 / 0.5), "use of what it bears").toBeGreaterThan(0.65);
  expect((process.refusals - refusals) / (process.calls - calls), "refusals per call").toBeLessThan(0.02);
});

/** A controller on a clock that the test sets, and the means to have calls answered. */
function controllerAt(options: Partial<ConcurrencyControllerOptions> = {}) {
  const clock = { ms: 0 };
  const own = { maxConcurrency: 250, firstConcurrency: 8, load: RESTING, now: () => clock.ms };
  const controller = new ConcurrencyController({ ...own, ...options });
  /** Has as many calls answered as the process may have at a time. */
  const round = () => {
    const calls = controller.concurrency;
    for (let call = 0; call < calls; call++) controller.granted(0);
    for (let call = 0; call < calls; call++) controller.answered();
    return controller.concurrency;
  };
  return { clock, controller, round };
}

test("calls to an unknown provider double per round of answers until the first 429, then add one per round", () => {
  const { clock, controller, round } = controllerAt();
  expect([round(), round()]).toEqual([16, 32]);
  clock.ms = 1000;
  for (let call = 0; call < 3; call++) controller.granted(0);
  for (let call = 0; call < 3; call++) controller.limited(900);
  expect(controller.concurrency, "one round of refusals halves once").toBe(16);
  controller.granted(0);
  controller.limited(1001);
  expect(controller.concurrency, "a later call halves again").toBe(8);
  for (let rounds = 0; rounds < 10; rounds++) round();
  expect(controller.concurrency).toBeGreaterThanOrEqual(14);
  expect(controller.concurrency).toBeLessThanOrEqual(18);
  for (let refused = 1; refused < 10; refused++) {
    clock.ms += 1000;
    controller.granted(0);
    controller.limited(clock.ms - 1);
  }
  expect(controller.concurrency, "never less than one").toBe(1);
});

test("a stream counts when it begins, and not again when it ends", () => {
  const { controller } = controllerAt();
  for (let call = 0; call < 8; call++) controller.granted(0);
  for (let call = 0; call < 8; call++) controller.began();
  expect(controller.concurrency, "before any has ended").toBe(16);
  for (let call = 0; call < 8; call++) controller.granted(0);
  for (let call = 0; call < 8; call++) controller.answered(true);
  expect(controller.concurrency).toBe(16);
  for (let call = 0; call < 8; call++) controller.answered();
  expect(controller.concurrency).toBe(24);
});

test("a few jobs do not raise what a provider is trusted with", () => {
  const { controller } = controllerAt();
  for (let call = 0; call < 100; call++) {
    controller.granted(0);
    controller.answered();
  }
  expect(controller.concurrency).toBe(8);
});

test("a budget that becomes known replaces the careful start", () => {
  const simulation = new Simulation();
  const process = new SimulatedProcess(simulation, undefined, { latencyMs: constant(10_000) });
  simulation.runUntil(1000);
  expect(process.controller.concurrency).toBe(8);
  process.controller.knows(true);
  simulation.runUntil(2000);
  expect(process.inFlight, "as many as were granted").toBeGreaterThan(500);
});

test("while the circuit breaker is open one job at a time is taken, afterwards as many as before", () => {
  const { controller, round } = controllerAt();
  round();
  controller.blocked();
  expect(controller.concurrency).toBe(1);
  controller.granted(0);
  expect(controller.concurrency, "a call that hangs keeps nobody from asking").toBe(2);
  controller.answered();
  expect(controller.concurrency, "an answer does not end it").toBe(1);
  controller.unblocked();
  expect(controller.concurrency).toBe(16);
});

test("a busy process does not grow, gives up a tenth per second down to eight, and grows again when it rests", () => {
  const load = { isBusy: false };
  const { clock, controller, round } = controllerAt({ load });
  while (round() < 250);
  load.isBusy = true;
  const passSeconds = (seconds: number) => {
    for (let tick = 0; tick < 10 * seconds; tick++) {
      clock.ms += 100;
      controller.update(controller.concurrency);
    }
    return controller.concurrency;
  };
  const shrunk = passSeconds(5);
  expect(shrunk).toBeGreaterThan(250 * 0.9 ** 6);
  expect(shrunk).toBeLessThan(250 * 0.9 ** 4);
  expect(passSeconds(60)).toBe(8);
  expect(round(), "answers do not make it grow").toBe(8);
  load.isBusy = false;
  expect(passSeconds(60)).toBe(250);
});

test("a busy process keeps the jobs that a budget gives it calls for", () => {
  const simulation = new Simulation();
  const budget = new SharedBudget(simulation, 100);
  const provider = { latencyMs: constant(3000) };
  const fleet = [new SimulatedProcess(simulation, budget, provider, { load: { isBusy: true } })];
  simulation.runUntil(10_000);
  expect(measure(simulation, fleet, { ratePerSecond: 100, seconds: 20 }).use).toBeGreaterThan(0.97);
});

test("calls whose end nobody tells are forgotten with their jobs", () => {
  const { clock, controller } = controllerAt();
  controller.knows(true);
  for (let call = 0; call < 100; call++) {
    clock.ms += 100;
    controller.granted(300);
  }
  const lineLength = controller.concurrency - 100;
  expect(lineLength).toBeGreaterThan(0);
  for (let call = 0; call < 50; call++) controller.unanswered();
  expect(controller.concurrency).toBe(50 + lineLength);
  controller.update(10);
  expect(controller.concurrency).toBe(10 + lineLength);
});
