import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { headerLine, newBatchId, readBatchId } from "../../src/batch/partial-header.ts";
import { objectId } from "../../src/shared/object-id.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

test.each([newBatchId(), objectId("batch_"), objectId("msgbatch_")])(
  "the host that takes %s over knows the partial output of the one before",
  (id) => {
    const output = join(temporaryFolder(), "out.jsonl");
    writeFileSync(`${output}.partial`, headerLine(id));
    expect(readBatchId(output)).toBe(id);
  },
);

test.each(['{"gluellm_batch": "../x", "v": 1}', '{"a": 1}'])("%s is no such header", (line) => {
  const output = join(temporaryFolder(), "out.jsonl");
  writeFileSync(`${output}.partial`, `${line}\n`);
  expect(() => readBatchId(output)).toThrow("is not the partial output of a batch");
});
