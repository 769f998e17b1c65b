import type { ScriptedAnswer } from "../../src/simulator/directive.ts";

type Schema = Record<string, unknown>;

/**
 * Returns an answer of a model that writes nothing but this text wherever it may, in every field of a structured answer too.
 * @param isContent what its judgements say: everything is right, or wrong
 */
export function hostileAnswer(
  text: string,
  { answerSchema }: { answerSchema?: unknown },
  isContent: boolean,
): ScriptedAnswer {
  if (!answerSchema) return { reply: text };
  return { json: instanceOf(answerSchema as Schema, text, isContent) };
}

/** An instance with two entries of each list, the whole text in each string, and one opinion in all judgements. */
function instanceOf(schema: Schema, text: string, isContent: boolean, place = 0): unknown {
  const of = (part: unknown, n = place) => instanceOf(part as Schema, text, isContent, n);
  if (Array.isArray(schema.enum)) return schema.enum[place % schema.enum.length];
  // What there is only when all is well may be null.
  if (Array.isArray(schema.anyOf)) return of(schema.anyOf.at(isContent ? 0 : -1));
  switch (schema.type) {
    case "object": {
      const fields = Object.entries(schema.properties as Schema);
      return Object.fromEntries(fields.map(([name, field]) => [name, of(field)]));
    }
    case "array":
      return [of(schema.items, 0), of(schema.items, 1)];
    case "boolean":
      return isContent;
    case "integer":
      return 1;
    case "number":
      return isContent ? 1 : 0.4;
    case "null":
      return null;
    default:
      return text;
  }
}
