import { z } from "zod";

const names = z.array(z.string());

/** What a worker process that is alive says of itself; what its version does not say is null. */
export const workerStateSchema = z.object({
  id: z.string(),
  host: z.string(),
  pid: z.number(),
  version: z.string().nullable().meta({ description: "Of the package." }),
  uptimeMs: z.number().nullable(),
  jobs: z
    .object({ active: z.number(), ended: z.number() })
    .nullable()
    .meta({ description: "Model calls that it has now, and those it brought to their end." }),
  isMemoryLow: z.boolean().meta({ description: "It takes no jobs until it has more memory." }),
  rssBytes: z.number().nullable(),
  memoryShare: z.number().nullable().meta({ description: "The part in use of the memory that it may use." }),
  lagMs: z.number().nullable().meta({ description: "How late timers of its event loop are." }),
  clockAheadMs: z
    .number()
    .nullable()
    .meta({ description: "How far its clock is ahead of that of Redis; negative: behind." }),
  queues: names.nullable().meta({ description: "That it takes jobs from at present." }),
  queueGlobs: names.meta({ description: "Patterns of the queues that it would take jobs from." }),
  providers: names.meta({ description: "The entries that it has a key for." }),
  tools: names,
  workflows: z.array(z.object({ name: z.string(), version: z.number().nullable() })),
  activities: names,
});
export type WorkerState = z.infer<typeof workerStateSchema>;
