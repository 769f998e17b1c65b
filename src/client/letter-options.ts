import { z } from "zod";
import type { DeadLetter, LetterFilter } from "../producers/dead-letters.ts";
import { InputError } from "../shared/errors.ts";
import { checkWith } from "../shared/schema-check.ts";

/** Which dead letters are meant: those to which all of it applies. */
export interface LetterSelection extends Omit<LetterFilter, "tenant" | "since"> {
  /** Failed at or after this time; a Date or epoch milliseconds. */
  since?: Date | number | undefined;
  kind?: DeadLetter["kind"] | undefined;
}

/** Options of a replay. */
export interface ReplayOptions {
  /** Another model, as `provider:model`: each job becomes a new one, which keeps what was paid; failed rows become a new batch. */
  model?: string | undefined;
  /** Fields of the request that take the place of its own; null takes one away. */
  edit?: Readonly<Record<string, unknown>> | undefined;
  /** Whether letters are only counted and quoted; default false. */
  dryRun?: boolean | undefined;
  /** The most letters that are replayed in a second; default 50. */
  perSecond?: number | undefined;
  signal?: AbortSignal | undefined;
  /** @internal Whether files of programs' batches may be those of this machine; default true. */
  hasFiles?: boolean;
}

/** What became of letters that were dropped. */
export interface DropReport extends Omit<ReplayReport, "replayed"> {
  /** The ids of the jobs that have left their queues. */
  dropped: string[];
}

/** Letters of one cause. */
export interface LetterGroup {
  kind: DeadLetter["kind"];
  code: string;
  /** The jobs' model, the runs' workflow, the batch's id. */
  subject: string;
  /** The letters; of a batch its rows. */
  count: number;
  firstAt: Date;
  lastAt: Date;
  /** The latest of them. */
  example: { id: string; message: string };
  /** Of a batch that a program has run: the command that tries its rows again where its files are. */
  hint?: string;
}

/** What became of letters that were to try again. */
export interface ReplayReport {
  /** The letters that fit; a batch with failed rows is one. */
  matched: number;
  /** The failed rows of the batches among them. */
  rows: number;
  /** 0 in a dry run. */
  changed: number;
  failed: number;
  /** Why letters could not be changed; at most 100. */
  failures: { id: string; code: string; message: string }[];
  /** What the first calls of the jobs and rows may cost, in USD, with answers of at most so many tokens each; null: no price is known. */
  quoteUsd: number | null;
  /** By the id of a letter: the job, or the batch, that it has become. */
  replayed: Record<string, string>;
}

const selectionSchema = z.strictObject({
  id: z.string().optional(),
  code: z.string().optional(),
  model: z.string().optional(),
  queue: z.string().optional(),
  workflow: z.string().optional(),
  kind: z.enum(["job", "run", "batch"]).optional(),
  since: z
    .union([z.date(), z.number()], "not a Date or epoch milliseconds")
    .transform((given) => new Date(given).getTime())
    .optional(),
});

/** Returns the selection with its time in epoch milliseconds. @throws InputError naming what is wrong in it */
export function checkLetterSelection(selection: LetterSelection) {
  return checkWith(selectionSchema, selection, "the selection of dead letters");
}

/** @throws InputError for a selection that would be all letters */
export function requireSome(selection: LetterSelection): void {
  if (Object.values(selection).some((value) => value !== undefined)) return;
  throw new InputError(
    "the selection of dead letters is empty: it would be all of them",
    "say which: by id, code, model, queue, workflow, kind or since",
  );
}
