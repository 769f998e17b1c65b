import { z } from "zod";

export const batchFaultSchema = z.object({
  code: z.string(),
  message: z.string(),
  line: z.number().nullable(),
  param: z.string().nullable(),
});
/** What is wrong with a batch, or one line of its input. */
export type BatchFault = z.infer<typeof batchFaultSchema>;

export const fileCheckSchema = z.object({
  /** Lines that are not blank. */
  rows: z.number(),
  /** The rest was not looked at: there are too many faults, or lines. */
  isCut: z.boolean(),
  /** Whose lines they are; null when no line says so. */
  endpoint: z.string().nullable(),
  /** The models that lines name, each with the first line; null: too many to remember. */
  models: z
    .array(
      z.object({
        name: z.string().optional(),
        vendor: z.enum(["anthropic", "google"]).optional(),
        line: z.number(),
      }),
    )
    .nullable(),
  /** What is wrong whatever models the configuration has; at most 100. */
  faults: z.array(batchFaultSchema),
});
/** What a look at each line of a batch's input has found, at its upload. */
export type FileCheck = z.infer<typeof fileCheckSchema>;
