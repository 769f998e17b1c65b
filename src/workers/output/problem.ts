import type { ErrorObject } from "ajv/dist/2020.js";

const MAX_LINES = 10;
const MAX_LINE_CHARS = 300;

/** The violated paths and rules, a line each, at most ten: `at /items/0/price: must be >= 0`. */
export function problemOf(errors: readonly ErrorObject[]): string {
  const lines = [...new Set(errors.map(lineOf))];
  const shown = lines.slice(0, MAX_LINES);
  if (lines.length > MAX_LINES) shown.push(`and ${lines.length - MAX_LINES} more`);
  return shown.join("\n");
}

function lineOf({ instancePath, message, params }: ErrorObject): string {
  const line = `at ${instancePath || "/"}: ${message ?? "is wrong"}${detailOf(params)}`;
  return line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS)}…` : line;
}

/** What ajv's message leaves to its parameters. */
function detailOf(params: Record<string, unknown>): string {
  const detail =
    params.additionalProperty ?? params.unevaluatedProperty ?? params.allowedValues ?? params.allowedValue;
  return detail === undefined ? "" : `: ${JSON.stringify(detail)}`;
}
