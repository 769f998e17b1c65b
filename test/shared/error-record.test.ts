import { inspect } from "node:util";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { fromErrorRecord, privatePartsOf, toErrorRecord } from "../../src/shared/error-record.ts";
import { AuthenticationError, StructuredOutputError } from "../../src/shared/errors.ts";
import { BudgetExceededError } from "../../src/shared/unsent-errors.ts";

const rejected = { text: "the private answer", problem: "at /private: must be string" };
const error = new StructuredOutputError({ message: "no answer fitted the schema", rejected });

describe("StructuredOutputError", () => {
  it("gives its catcher the last answer and the problem", () => {
    expect(error).toMatchObject({ code: "structured_output", category: "provider", retryable: false });
    expect(error.rejected).toEqual(rejected);
  });

  it("shows neither where errors are stored, logged or inspected", () => {
    const lines: string[] = [];
    pino({}, { write: (line: string) => lines.push(line) }).error({ err: error, error });
    expect(lines[0]).toContain("structured_output");
    const shown = [
      JSON.stringify(toErrorRecord(error)),
      inspect(error, { showHidden: true }),
      JSON.stringify(error),
    ];
    for (const text of [...shown, ...lines, error.stack]) expect(text).not.toContain("private");
  });

  it("comes back of its class, with what is stored beside it", () => {
    const record = { ...toErrorRecord(error), attempts: 1 };
    const back = fromErrorRecord({ ...record, rejected });
    expect(back).toBeInstanceOf(StructuredOutputError);
    expect(back).toMatchObject({ rejected, attempts: 1, message: error.message });
    expect((fromErrorRecord(record) as StructuredOutputError).rejected).toBeUndefined();
  });

  it("keeps 16 KiB of the answer, in whole characters", () => {
    const long = new StructuredOutputError({
      message: "m",
      rejected: { text: "é".repeat(20_000), problem: "" },
    });
    expect(long.rejected?.text).toBe("é".repeat(8192));
    const odd = new StructuredOutputError({
      message: "m",
      rejected: { text: `a${"é".repeat(20_000)}`, problem: "" },
    });
    expect(odd.rejected?.text).toBe(`a${"é".repeat(8191)}`);
  });
});

describe("stored errors", () => {
  it("a class that is not stored comes back as its parent, with its code", () => {
    const error = fromErrorRecord(toErrorRecord(new BudgetExceededError("openai:m", 10, 5)), {
      jobId: "job-1",
    });
    expect(error).toMatchObject({
      name: "TokenLimitError",
      code: "budget_exceeded",
      context: { jobId: "job-1" },
    });
  });

  it.each(["of a later version", "constructor", undefined])("type %s becomes a GlueError", (type) => {
    const error = fromErrorRecord({ type, code: "c", category: "provider", message: "m" });
    expect(error.name).toBe("GlueError");
    expect(error).toMatchObject({ code: "c", category: "provider", message: "m" });
  });
});

describe("what a provider said", () => {
  const said = new AuthenticationError({
    message: "the key is refused",
    providerMessage: `  the private\u0007 prompt\n\u202eis ${"long ".repeat(1000)}`,
  });

  it("is its catcher's alone, as bounded text without control characters", () => {
    expect(said.providerMessage).toMatch(/^the private prompt is long long/);
    expect(said.providerMessage).toHaveLength(2000);
    const lines: string[] = [];
    pino({}, { write: (line: string) => lines.push(line) }).error({ err: said, said });
    const shown = [
      JSON.stringify(toErrorRecord(said)),
      inspect(said, { showHidden: true }),
      JSON.stringify(said),
    ];
    for (const text of [...shown, ...lines, said.stack]) expect(text).not.toContain("private");
  });

  it("comes back with the class", () => {
    const back = fromErrorRecord({ ...toErrorRecord(said), ...privatePartsOf(said) });
    expect(back).toBeInstanceOf(AuthenticationError);
    expect(privatePartsOf(back)).toEqual(privatePartsOf(said));
  });
});
