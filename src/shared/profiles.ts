/** How much of a machine one worker process takes, and how eagerly. */
export interface Profile {
  /** The most jobs at a time from one queue in one process; `GLUELLM_WORKER_CONCURRENCY` replaces it. */
  maxConcurrency: number;
  /** The most jobs of one process whose tools run; `GLUELLM_MAX_JOBS_IN_TOOLS` replaces it. */
  maxJobsInTools: number;
  /** Calls at a time to a provider whose limits are neither configured nor learned yet. */
  firstConcurrency: number;
  /** Milliseconds by which timers may come late before the process counts as busy and stops growing. */
  maxEventLoopLagMs: number;
  /** Share of the memory limit, 0 to 1, from which on the process takes no more jobs. */
  memoryGuard: number;
  /**
   * How much of a budget's rate, in milliseconds, a process buys at once. Less comes closer to the limit and costs more
   * Redis commands.
   */
  quantumMs: number;
}

export type ProfileName = "conservative" | "balanced" | "aggressive";

/**
 * `GLUELLM_PROFILE`. Conservative for a process that shares its machine or its account, balanced (the default) for a
 * worker process, aggressive for a machine that does nothing else.
 */
export const PROFILES: Readonly<Record<ProfileName, Readonly<Profile>>> = {
  conservative: {
    maxConcurrency: 50,
    maxJobsInTools: 100,
    firstConcurrency: 2,
    maxEventLoopLagMs: 50,
    memoryGuard: 0.7,
    quantumMs: 50,
  },
  balanced: {
    maxConcurrency: 250,
    maxJobsInTools: 500,
    firstConcurrency: 8,
    maxEventLoopLagMs: 100,
    memoryGuard: 0.8,
    quantumMs: 50,
  },
  aggressive: {
    maxConcurrency: 1000,
    maxJobsInTools: 2000,
    firstConcurrency: 32,
    maxEventLoopLagMs: 250,
    memoryGuard: 0.9,
    quantumMs: 20,
  },
};
