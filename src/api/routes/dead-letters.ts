import { z } from "zod";
import type { LetterSelection } from "../../client/letter-options.ts";
import { allows } from "../../shared/scopes.ts";
import { ApiError, notFound } from "../api-error.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const date = z.iso.datetime();
const kind = z.enum(["job", "run", "batch"]);
const selectionSchema = z.strictObject({
  id: z.string().optional(),
  kind: kind.optional(),
  code: z.string().optional(),
  model: z.string().meta({ description: "`provider:model` of jobs." }).optional(),
  queue: z.string().optional(),
  workflow: z.string().meta({ description: "Of runs." }).optional(),
  since: z.iso.datetime({ offset: true }).meta({ description: "Failed at or after this time." }).optional(),
});
type Selection = z.infer<typeof selectionSchema>;
const letterSchema = z
  .looseObject({
    kind,
    id: z.string(),
    subject: z.string().meta({ description: "A job's model, a run's workflow, a batch's id." }),
    code: z.string(),
    message: z.string(),
    failedAt: date,
    attempts: z.number(),
    costUsd: z.number().nullable(),
    rows: z.number().meta({ description: "Of a batch: how many rows would be sent again." }).optional(),
    hint: z
      .string()
      .meta({ description: "Of a batch of a program: the command that sends them." })
      .optional(),
  })
  .meta({ id: "DeadLetter" });
const groupSchema = z
  .object({
    kind,
    code: z.string(),
    subject: z.string(),
    count: z.number().meta({ description: "Letters; of a batch its rows." }),
    firstAt: date,
    lastAt: date,
    example: z.object({ id: z.string(), message: z.string() }),
    hint: z
      .string()
      .meta({ description: "Of a batch of a program: the command that tries its rows again." })
      .optional(),
  })
  .meta({ id: "DeadLetterGroup" });
const changeSchema = {
  where: selectionSchema.meta({ description: "Which letters; all of it applies, and something is there." }),
  dryRun: z.boolean().meta({ description: "Count them, and quote; change nothing." }).default(false),
  perSecond: z.number().min(0.1).max(1000).default(50),
};
const replaySchema = z
  .strictObject({
    ...changeSchema,
    model: z
      .string()
      .meta({ description: "Another `provider:model`: the jobs become new ones, failed rows a new batch." })
      .optional(),
    edit: z
      .record(z.string(), z.unknown())
      .meta({ description: "Fields of the request; null takes one away." })
      .optional(),
  })
  .meta({ id: "ReplayDeadLetters" });
const dropSchema = z.strictObject(changeSchema).meta({ id: "DropDeadLetters" });
const counts = {
  matched: z.number(),
  rows: z.number().meta({ description: "The failed rows of the batches among them." }),
  changed: z.number(),
  failed: z.number(),
  failures: z.array(z.object({ id: z.string(), code: z.string(), message: z.string() })),
  quoteUsd: z
    .number()
    .nullable()
    .meta({ description: "What the first calls may cost; null: no price is known." }),
};
const dropReportSchema = z
  .object({
    ...counts,
    dropped: z.array(z.string()).meta({ description: "The jobs that have left their queues." }),
  })
  .meta({ id: "DropReport" });
const reportSchema = z
  .object({
    ...counts,
    replayed: z
      .record(z.string(), z.string())
      .meta({ description: "By a letter's id, the job or the batch that it has become." }),
  })
  .meta({ id: "DeadLetterReport" });
const idSchema = z.object({ id: z.string() });

/** `/api/dead-letters`: what failed for good, of the key's tenant. */
export const deadLetterRoutes: RouteGroup = {
  name: "dead letters",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/dead-letters",
      summary: "Lists what failed for good, by its cause, with an example.",
      scope: "read",
      query: selectionSchema,
      answer: z.object({ data: z.array(groupSchema) }),
      handle: async (call) => ({
        data: (await lettersOf(call).groups(selected(call.query))).map((group) => ({
          ...group,
          firstAt: group.firstAt.toISOString(),
          lastAt: group.lastAt.toISOString(),
        })),
      }),
    }),
    defineRoute({
      method: "get",
      path: "/dead-letters/list",
      summary: "Lists the letters themselves, the latest first; at most 1,000.",
      scope: "read",
      query: selectionSchema,
      answer: z.object({ data: z.array(letterSchema) }),
      handle: async (call) => ({
        data: (await lettersOf(call).list(selected(call.query))).slice(0, MAX_LISTED).map(shown),
      }),
    }),
    defineRoute({
      method: "get",
      path: "/dead-letters/:id",
      summary: "Shows one letter; keys with the scope content see the request too.",
      scope: "read",
      params: idSchema,
      answer: letterSchema,
      handle: async (call) => {
        const [letter] = await lettersOf(call).list({ id: call.params.id });
        if (!letter) throw notFound("dead letter", call.params.id);
        if (!allows(call.principal.scopes, "content")) return shown(letter);
        return shown(await lettersOf(call).show(letter.id));
      },
    }),
    defineRoute({
      method: "post",
      path: "/dead-letters/replay",
      summary: "Lets letters try again, as they are or with another model or request; what was paid is kept.",
      scope: "operate",
      body: replaySchema,
      answer: reportSchema,
      handle: async (call) => {
        const { where, ...options } = call.body;
        if (options.edit !== undefined && !allows(call.principal.scopes, "complete"))
          throw new ApiError({
            status: 403,
            code: "missing_scope",
            message: 'an edit needs the scope "complete" too',
          });
        return lettersOf(call).replay(selected(where), { ...options, signal: call.signal, hasFiles: false });
      },
    }),
    defineRoute({
      method: "post",
      path: "/dead-letters/drop",
      summary: "Takes failed jobs out of their queues; the record of their end stays as long as it would.",
      scope: "operate",
      body: dropSchema,
      answer: dropReportSchema,
      handle: async (call) => {
        const { where, ...options } = call.body;
        return lettersOf(call).drop(selected(where), { ...options, signal: call.signal });
      },
    }),
  ],
};

const MAX_LISTED = 1000;

function lettersOf({ context, principal }: Call<never, never, never> | Call) {
  return context.clientOf(principal).deadLetters;
}

function selected({ since, ...rest }: Selection): LetterSelection {
  return { ...rest, ...(since !== undefined && { since: new Date(since) }) };
}

function shown<L extends { failedAt: number }>({ failedAt, ...letter }: L) {
  return { ...letter, failedAt: new Date(failedAt).toISOString() };
}
