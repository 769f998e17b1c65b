import { createServer, type Server } from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { ConfigurationError } from "../shared/errors.ts";
import { requireLoopback } from "./access.ts";
import { type BatchPlanChange, batchPlanSchema } from "./batches/plan.ts";
import { type Faults, readFaults } from "./faults.ts";
import type { CallJournal } from "./journal.ts";
import { type LimitChange, limitChangeSchema } from "./limits.ts";
import { type OutageChange, outageChangeSchema } from "./outage.ts";
import { requestListener } from "./router.ts";
import type { SeriesSnapshot } from "./series.ts";
import { createSimulation, resetSimulation, type Simulation } from "./simulation.ts";
import {
  type LatencyChange,
  latencyChangeSchema,
  readSettings,
  readWith,
  type SimulatorOptions,
} from "./simulator-options.ts";
import type { StatisticsSnapshot } from "./statistics.ts";

/** Longer than clients keep idle connections: the simulator never closes one under a request. */
const KEEP_ALIVE_TIMEOUT_MS = 300_000;

export type { SimulatorOptions } from "./simulator-options.ts";

/** A running simulator. */
export interface Simulator {
  /** The base URL for Anthropic's SDK; OpenAI's takes it with `/v1`. */
  url: string;
  port: number;
  journal: Pick<CallJournal, "entries">;
  stats(): StatisticsSnapshot;
  /** Returns counts by 100 ms, from the epoch millisecond `since` on; default all. */
  series(since?: number): SeriesSnapshot;
  /** Changes limits for all accounts. @throws InputError */
  setLimits(change: LimitChange): void;
  /** Replaces all faults; their counts start from zero. @throws InputError */
  setFaults(faults: Faults | string): void;
  /** Changes the latency of calls that arrive from now on. @throws InputError */
  setLatency(change: LatencyChange): void;
  /** Begins or ends an outage, for calls that arrive while it lasts. @throws InputError */
  setOutage(change: OutageChange): void;
  /** Changes what becomes of the provider's batches that are made from now on. @throws InputError */
  setBatches(change: BatchPlanChange): void;
  /** Sets journal, statistics, buckets and fault counts as at the start. */
  reset(): void;
  /** Cuts all connections and frees the port. */
  close(): Promise<void>;
}

/**
 * Starts a simulated provider on loopback: OpenAI Chat Completions and Embeddings and Anthropic Messages, with live
 * limits, seeded faults and a journal. Any API key and model name is accepted, and no model is behind it: free text
 * starts with `[simulated] ` and every answer has the header `x-gluellm-simulator: 1`. Four characters count as a
 * token.
 * @throws InputError for options that cannot be used
 * @throws ConfigurationError for a host that is not loopback, a port in use, a journal file that cannot be opened
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const settings = readSettings(options);
  requireLoopback(settings.host);
  const simulation = createSimulation(settings);
  const server = createServer(requestListener(simulation));
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.on("connection", () => simulation.statistics.socketOpened());
  try {
    await listen(server, settings.host, settings.port);
  } catch (error) {
    simulation.journal.close();
    throw error;
  }
  return handleOf(server, settings.host, simulation);
}

function handleOf(server: Server, host: string, simulation: Simulation): Simulator {
  const { port } = server.address() as AddressInfo;
  const { journal, statistics, limits, faults, latency, outage } = simulation;
  return {
    url: `http://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    port,
    journal,
    stats: () => statistics.snapshot(),
    series: (since) => statistics.series(since),
    setLimits: (change) => limits.change(readWith(limitChangeSchema, change, "limits"), performance.now()),
    setFaults: (next) => faults.replace(readFaults(next)),
    setLatency: (change) => void Object.assign(latency, readWith(latencyChangeSchema, change, "latency")),
    setOutage: (change) => outage.change(readWith(outageChangeSchema, change, "outage"), performance.now()),
    setBatches: (change) =>
      void Object.assign(simulation.batches.plan, readWith(batchPlanSchema, change, "batches")),
    reset: () => resetSimulation(simulation),
    close: async () => {
      await closeServer(server);
      simulation.batches.close();
      journal.close();
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "EADDRINUSE" ? "the port is in use" : error.code;
      const hint = "choose another port, or 0 for a free one";
      reject(new ConfigurationError(`provider simulator on ${host}:${port}: ${reason}`, hint, "port_in_use"));
    });
    server.listen(port, host, resolve);
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
