import type { z } from "zod";
import { didYouMean, hintOf } from "./did-you-mean.ts";
import { InputError } from "./errors.ts";

/** What other names some options have in the Python GlueLLM, without underscores and in lower case. */
const PYTHON_NAMES = new Map([
  ["systemprompt", "system"],
  ["responseformat", "schema"],
  ["requesttimeout", "timeoutMs"],
  ["retryconfig", "maxAttempts"],
  ["summarizecontext", "trim"],
]);

/**
 * Returns a value as its schema has it.
 * @throws InputError naming the field that is unknown or wrong: `the options are wrong at stop: …`.
 */
export function checkWith<T>(schema: z.ZodType<T>, value: unknown, what: string, verb = "is"): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.flatMap(withinUnions);
  // A mistyped name says more than that the right one is missing.
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? parsed.error.issues[0];
  const path = issue?.path.join(".");
  // Of a record's key the rule that it broke stands within.
  const rule = (issue?.code === "invalid_key" && issue.issues[0]) || issue;
  const problem = `${what} ${verb} wrong${path ? ` at ${path}` : ""}: ${rule?.message}`;
  throw new InputError(problem, issue && unknownKeyHint(schema, issue));
}

/** An issue, or those of all the choices of which none fits. */
function withinUnions(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union") return [issue];
  return issue.errors
    .flat()
    .flatMap((inner) => withinUnions({ ...inner, path: [...issue.path, ...inner.path] }));
}

/** Returns which keys there are in the place of an unknown one; undefined for another issue. */
export function unknownKeyHint(schema: z.ZodType, issue: z.core.$ZodIssue): string | undefined {
  if (issue.code !== "unrecognized_keys") return undefined;
  const places = issue.path.reduce<z.core.$ZodType[]>(
    (schemas, key) => schemas.flatMap((each) => childrenOf(each, key)),
    [schema],
  );
  const known = [...new Set(places.flatMap(keysOf))].sort();
  if (known.length === 0) return undefined;
  const guesses = issue.keys.map((key) => didYouMean(renamed(key), known));
  return hintOf(...new Set(guesses), `known: ${known.join(", ")}`);
}

function renamed(key: string): string {
  return PYTHON_NAMES.get(key.replaceAll("_", "").toLowerCase()) ?? key;
}

/** The schemas of which a schema is made that does not name the fields itself. */
function innerOf(schema: z.core.$ZodType): readonly z.core.$ZodType[] {
  const { def } = schema._zod as unknown as { def: Record<string, unknown> };
  const one = [def.innerType, def.in, def.out, def.left, def.right];
  const getter = typeof def.getter === "function" ? def.getter() : undefined;
  const all = [...one, getter, ...((def.options as unknown[] | undefined) ?? [])];
  return all.filter((inner) => inner !== undefined && inner !== null) as z.core.$ZodType[];
}

function keysOf(schema: z.core.$ZodType): string[] {
  const { shape } = (schema._zod as unknown as { def: { shape?: object } }).def;
  return shape ? Object.keys(shape) : innerOf(schema).flatMap(keysOf);
}

function childrenOf(schema: z.core.$ZodType, key: PropertyKey): readonly z.core.$ZodType[] {
  const { shape, element, valueType } = (
    schema._zod as unknown as {
      def: {
        shape?: Record<PropertyKey, z.core.$ZodType>;
        element?: z.core.$ZodType;
        valueType?: z.core.$ZodType;
      };
    }
  ).def;
  const child = shape ? shape[key] : (element ?? valueType);
  if (child) return [child];
  return shape ? [] : innerOf(schema).flatMap((inner) => childrenOf(inner, key));
}
