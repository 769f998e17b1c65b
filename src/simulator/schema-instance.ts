export type JsonSchema = boolean | { [keyword: string]: unknown };

const MAX_DEPTH = 40;
const FORMATS: Record<string, string> = {
  "date-time": "2000-01-01T00:00:00Z",
  date: "2000-01-01",
  time: "00:00:00Z",
  duration: "P1D",
  email: "simulated@example.com",
  hostname: "example.com",
  ipv4: "127.0.0.1",
  ipv6: "::1",
  uri: "https://example.com/simulated",
  uuid: "00000000-0000-4000-8000-000000000000",
};

/**
 * A minimal instance of a JSON Schema: required properties only, the first branch of `anyOf`/`oneOf`, the least
 * number, the shortest list; local `$ref`s are followed. `pattern`, `not` and `if` are not looked at.
 */
export function instanceOf(schema: JsonSchema): unknown {
  return build(schema, schema, 0);
}

function build(schema: unknown, root: JsonSchema, depth: number): unknown {
  if (schema === null || typeof schema !== "object" || depth > MAX_DEPTH) return null;
  const resolved = resolve(schema as Record<string, unknown>, root, depth);
  if ("const" in resolved) return resolved.const;
  if (Array.isArray(resolved.enum) && resolved.enum.length > 0) return resolved.enum[0];
  const branches = resolved.anyOf ?? resolved.oneOf;
  if (Array.isArray(branches) && branches.length > 0) {
    const { anyOf: _anyOf, oneOf: _oneOf, ...rest } = resolved;
    return build({ ...rest, ...(leastNested(branches) as object) }, root, depth + 1);
  }
  return buildType(typeOf(resolved), resolved, root, depth);
}

/** Follows `$ref` and merges `allOf`, so that what is left names its type itself. */
function resolve(schema: Record<string, unknown>, root: JsonSchema, depth: number): Record<string, unknown> {
  let { $ref, allOf, ...own } = schema;
  if (typeof $ref === "string" && depth <= MAX_DEPTH) {
    own = { ...resolve(lookUp($ref, root), root, depth + 1), ...own };
  }
  if (!Array.isArray(allOf) || depth > MAX_DEPTH) return own;
  return allOf.reduce((merged: Record<string, unknown>, part) => {
    const next = resolve(part as Record<string, unknown>, root, depth + 1);
    return {
      ...merged,
      ...next,
      properties: { ...(merged.properties as object), ...(next.properties as object) },
      required: [...listOf(merged.required), ...listOf(next.required)],
    };
  }, own);
}

function lookUp(ref: string, root: JsonSchema): Record<string, unknown> {
  const steps = ref.replace(/^#\/?/, "").split("/").filter(Boolean);
  const found = steps.reduce<unknown>((at, step) => {
    const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
    return at !== null && typeof at === "object" ? (at as Record<string, unknown>)[key] : undefined;
  }, root);
  return (found ?? {}) as Record<string, unknown>;
}

/** A branch without `$ref` ends a recursive schema, such as a tree whose leaf is `null`. */
function leastNested(branches: unknown[]): unknown {
  return branches.find((branch) => !JSON.stringify(branch).includes('"$ref"')) ?? branches[0];
}

function typeOf(schema: Record<string, unknown>): unknown {
  if (Array.isArray(schema.type)) return schema.type[0];
  if (schema.type !== undefined) return schema.type;
  if (schema.properties || schema.required) return "object";
  return schema.items || schema.prefixItems ? "array" : "string";
}

function buildType(
  type: unknown,
  schema: Record<string, unknown>,
  root: JsonSchema,
  depth: number,
): unknown {
  if (type === "object") return buildObject(schema, root, depth);
  if (type === "array") return buildArray(schema, root, depth);
  if (type === "integer" || type === "number") return leastNumber(schema, type === "integer");
  if (type === "boolean") return false;
  return type === "null" ? null : buildString(schema);
}

function buildObject(schema: Record<string, unknown>, root: JsonSchema, depth: number): object {
  const properties = (schema.properties ?? {}) as Record<string, unknown>;
  return Object.fromEntries(
    listOf(schema.required).map((name) => {
      const property = properties[String(name)] ?? { type: "string" };
      return [name, build(property, root, depth + 1)];
    }),
  );
}

function buildArray(schema: Record<string, unknown>, root: JsonSchema, depth: number): unknown[] {
  const prefix = listOf(schema.prefixItems);
  const length = Math.min(Math.max(numberOf(schema.minItems) ?? 0, prefix.length), 1000);
  return Array.from({ length }, (_, index) =>
    build(prefix[index] ?? schema.items ?? { type: "string" }, root, depth + 1),
  );
}

function leastNumber(schema: Record<string, unknown>, integer: boolean): number {
  const step = numberOf(schema.multipleOf) ?? (integer ? 1 : 0);
  const above = numberOf(schema.exclusiveMinimum);
  const below = numberOf(schema.exclusiveMaximum);
  const ceiling = numberOf(schema.maximum) ?? (below === undefined ? undefined : below - (step || 1));
  const floor = numberOf(schema.minimum) ?? above ?? Math.min(0, ceiling ?? 0);
  const value = step > 0 ? Math.ceil(floor / step) * step : floor;
  if (value !== above) return value;
  // With both bounds open and no step, any value in between will do.
  return value + (step || (ceiling === undefined ? 1 : (ceiling - value) / 2));
}

function buildString(schema: Record<string, unknown>): string {
  const known = FORMATS[String(schema.format)];
  if (known !== undefined) return known;
  const least = Math.min(numberOf(schema.minLength) ?? 0, 100_000);
  return "simulated".padEnd(least, ".").slice(0, Math.max(least, numberOf(schema.maxLength) ?? 100_000));
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
