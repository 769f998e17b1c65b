import type { Redis } from "ioredis";
import type { SimulatorControl } from "./simulator-control.ts";

/** Where the cases run. */
export interface Bench {
  /** For files. */
  folder: string;
  redis: Redis;
  redisSocket: string;
  provider: SimulatorControl;
  providerUrl: string;
  /** Length of a steady phase. */
  steadyMs: number;
}
