import type { ChargePolicy } from "./charge.ts";
import type { AnswerScript } from "./directive.ts";
import { FaultPlan } from "./fault-plan.ts";
import { readFaults } from "./faults.ts";
import { CallJournal } from "./journal.ts";
import { Limits } from "./limits.ts";
import { Outage } from "./outage.ts";
import type { SimulatorSettings } from "./simulator-options.ts";
import { Statistics } from "./statistics.ts";

/** The parts of a simulator that change while it runs. */
export interface Simulation {
  limits: Limits;
  chargePolicy: ChargePolicy;
  outage: Outage;
  faults: FaultPlan;
  latency: { latencyMs: number; jitterMs: number };
  journal: CallJournal;
  statistics: Statistics;
  /** The script of answers; undefined: they are made up. */
  answer: AnswerScript | undefined;
}

/**
 * Returns a simulation as at the start.
 * @throws InputError for faults that cannot be used
 * @throws ConfigurationError when the journal's file cannot be opened
 */
export function createSimulation(settings: SimulatorSettings): Simulation {
  const { rpm, tpm, itpm, otpm, burstSeconds, latencyMs, jitterMs } = settings;
  return {
    limits: new Limits({ rpm, tpm, itpm, otpm, burstSeconds }, settings.startFull),
    chargePolicy: settings.charge,
    outage: new Outage(),
    faults: new FaultPlan(settings.seed, readFaults(settings.faults)),
    latency: { latencyMs, jitterMs },
    statistics: new Statistics(),
    journal: new CallJournal(settings.journalFile),
    answer: settings.answer,
  };
}

/** Sets journal, statistics, buckets and fault counts as at the start; limits, faults, latency and outage stay set. */
export function resetSimulation({ journal, statistics, limits, faults }: Simulation): void {
  journal.reset();
  statistics.reset();
  limits.reset();
  faults.reset();
}
