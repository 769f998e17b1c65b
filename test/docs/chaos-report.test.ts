import { expect, test } from "vitest";
import { pagesOfReport } from "../chaos/report.ts";

test("docs/recovery.md and README tell what all campaigns found", () => {
  for (const { present, right } of pagesOfReport()) {
    expect(present).toContain("<!-- campaigns -->");
    expect(present).toBe(right);
  }
});
