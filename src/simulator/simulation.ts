import { newBatchPlan } from "./batches/plan.ts";
import { ProviderBatches } from "./batches/provider-batches.ts";
import type { ChargePolicy } from "./charge.ts";
import type { AnswerScript } from "./directive.ts";
import { FaultPlan } from "./fault-plan.ts";
import { readFaults } from "./faults.ts";
import { Flex } from "./flex.ts";
import { CallJournal } from "./journal.ts";
import { Limits } from "./limits.ts";
import { Outage } from "./outage.ts";
import { PromptCache } from "./prompt-cache.ts";
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
  promptCache: PromptCache | undefined;
  flex: Flex;
  batches: ProviderBatches;
  seed: number;
  /** The script of answers; undefined: they are made up. */
  answer: AnswerScript | undefined;
}

/**
 * Returns a simulation as at the start.
 * @throws InputError for faults that cannot be used
 * @throws ConfigurationError when the journal's file cannot be opened
 */
export function createSimulation(settings: SimulatorSettings): Simulation {
  const { rpm, tpm, itpm, otpm, burstSeconds, latencyMs, jitterMs, seed } = settings;
  const simulation: Omit<Simulation, "batches"> = {
    limits: new Limits({ rpm, tpm, itpm, otpm, burstSeconds }, settings.startFull),
    chargePolicy: settings.charge,
    outage: new Outage(),
    faults: new FaultPlan(seed, readFaults(settings.faults)),
    latency: { latencyMs, jitterMs },
    statistics: new Statistics(),
    journal: new CallJournal(settings.journalFile),
    promptCache: promptCacheOf(settings.promptCache),
    flex: new Flex(settings.flexRefused, seed),
    seed,
    answer: settings.answer,
  };
  return Object.assign(simulation, {
    batches: new ProviderBatches(simulation, newBatchPlan(settings.batchSpeed)),
  });
}

/** Sets journal, statistics, buckets and fault counts as at the start; limits, faults, latency and outage stay set. */
export function resetSimulation({ journal, statistics, limits, faults }: Simulation): void {
  journal.reset();
  statistics.reset();
  limits.reset();
  faults.reset();
}

function promptCacheOf(setting: boolean | number): PromptCache | undefined {
  if (setting === false) return undefined;
  return new PromptCache(setting === true ? undefined : setting);
}
