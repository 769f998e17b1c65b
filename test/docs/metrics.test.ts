import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DOCS, withMetricsDocs } from "../../tools/metrics-docs.ts";

test("docs/observability.md has the metrics as the code has them (node tools/metrics-docs.ts)", () => {
  const text = readFileSync(DOCS, "utf8");
  expect(text).toBe(withMetricsDocs(text));
});
