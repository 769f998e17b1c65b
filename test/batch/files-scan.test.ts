import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { DiskIndex } from "../../src/batch/disk-index.ts";
import { InputFile } from "../../src/batch/input-file.ts";
import { RowReader } from "../../src/batch/row-reader.ts";
import { scanInput } from "../../src/batch/scan-input.ts";
import { ConfigurationError, InputError } from "../../src/shared/errors.ts";
import {
  allMissing,
  readAll,
  resolveModel,
  type ScanChoice,
  scanError,
  scanFile,
  testFolder,
  writeInput,
} from "./files-fixture.ts";

const openAILine = (body: object, customId?: string) => ({
  ...(customId ? { custom_id: customId } : {}),
  method: "POST",
  url: "/v1/chat/completions",
  body,
});
const user = (content: string) => ({ role: "user", content });

async function onlyRow(line: unknown, options: ScanChoice = {}) {
  const { rows } = await readAll(writeInput([line]), options);
  expect(rows).toHaveLength(1);
  return rows[0]!;
}

describe("accepted lines", () => {
  test("the same request has the same identity in every form", async () => {
    const forms = [
      { prompt: "x", model: "openai:gpt", temperature: 0.5 },
      { temperature: 0.5, messages: [user("x")], model: "openai:gpt" },
      openAILine({ model: "openai/gpt", temperature: 0.5, messages: [{ content: "x", role: "user" }] }),
    ];
    const rows = await Promise.all(forms.map((form) => onlyRow(form)));
    expect(new Set(rows.map(({ id }) => id)).size).toBe(1);
    expect(rows[2]).toMatchObject({
      line: 1,
      customId: "line-1",
      model: { key: "openai:gpt" },
      request: { messages: [user("x")], temperature: 0.5 },
    });
    expect(rows[0]?.id).toMatch(/^[0-9a-f]{32}$/);
    expect(rows[2]?.request).not.toHaveProperty("model");
  });

  test("model, entry, messages, parameters and custom_id make the identity", async () => {
    const forms = [
      { prompt: "x" },
      { prompt: "y" },
      { prompt: "x", model: "other" },
      { prompt: "x", model: "openai:demo" },
      { prompt: "x", seed: 1 },
      { prompt: "x", custom_id: "a" },
      { prompt: "x", custom_id: "b" },
      { prompt: "x", system: "s" },
    ];
    const ids = await Promise.all(forms.map(async (form) => (await onlyRow(form)).id));
    expect(new Set(ids).size).toBe(forms.length);
  });

  test("line numbers and run options do not", async () => {
    const first = await readAll(writeInput([{ prompt: "x" }, { prompt: "x" }]));
    const moved = await readAll(
      writeInput([{ prompt: "new" }, "", { prompt: "x" }, { prompt: "x" }, { prompt: "z" }]),
      {
        limitRows: 3,
        strict: true,
      },
    );
    expect(moved.rows.slice(1).map(({ id }) => id)).toEqual(first.rows.map(({ id }) => id));
    expect(first.rows[0]?.id).not.toBe(first.rows[1]?.id);
    expect(moved.rows.map(({ line, customId }) => [line, customId])).toEqual([
      [1, "line-1"],
      [3, "line-3"],
      [4, "line-4"],
    ]);
  });

  test("system comes first; known parameters pass, other columns and nulls do not", async () => {
    const line = {
      prompt: "x",
      system: "be short",
      max_tokens: 5,
      seed: null,
      answer: "42",
      metadata: { a: 1 },
      custom_id: 7,
    };
    const row = await onlyRow(line);
    expect(row.request).toEqual({
      messages: [{ role: "system", content: "be short" }, user("x")],
      max_tokens: 5,
    });
    expect(row.customId).toBe("7");
  });

  test("an OpenAI line's body passes as it is", async () => {
    const body = { model: "m", messages: [user("x")], metadata: { a: 1 }, vendor_option: [1, null] };
    const { model: _, ...request } = body;
    expect((await onlyRow(openAILine(body, "c"))).request).toEqual(request);
  });

  test("--prompt-field takes the prompt from another column", async () => {
    const row = await onlyRow(
      { question: "q?", answer: "a", prompt: "not this", body: 1 },
      { promptField: "question" },
    );
    expect(row.request).toEqual({ messages: [user("q?")] });
  });

  test("byte order mark, CRLF, blank lines, no line end at the end", async () => {
    const text = '\ufeff{"prompt":"ä"}\r\n\r\n  \t\r\n{"prompt":"b"}\r\n\n{"prompt":"c"}';
    const { rows, scan } = await readAll(writeInput(Buffer.from(text)));
    expect(scan).toMatchObject({ rows: 3, malformed: 0 });
    expect(rows.map(({ line, request }) => [line, request.messages[0]?.content])).toEqual([
      [1, "ä"],
      [4, "b"],
      [6, "c"],
    ]);
  });

  test("lines around the reader's chunk size keep their places", async () => {
    const sizes = [262_100, 1, 262_144, 262_143, 3, 600_000, 17];
    const { rows } = await readAll(writeInput(sizes.map((size) => ({ prompt: "p".repeat(size) }))));
    expect(rows.map(({ request }) => String(request.messages[0]?.content).length)).toEqual(sizes);
  });

  test("a line of 10 MB works", async () => {
    const row = await onlyRow({ messages: Array.from({ length: 10 }, () => user("m".repeat(1_000_000))) });
    expect(row.bytes).toBeGreaterThan(10_000_000);
    expect(row.request.messages).toHaveLength(10);
  });

  test("--limit takes the first rows and looks at no more", async () => {
    const { scan } = await readAll(
      writeInput([{ prompt: "a" }, "", { prompt: "b" }, { prompt: "c", model: "nobody:x" }]),
      {
        limitRows: 2,
      },
    );
    expect(scan).toMatchObject({ rows: 2, malformed: 0 });
  });

  test("models come in order of appearance, each resolved once", async () => {
    const asked: (string | undefined)[] = [];
    const inputPath = writeInput([
      { prompt: "a", model: "m2" },
      { prompt: "b" },
      { prompt: "c", model: "m2" },
      { prompt: "d" },
    ]);
    using index = DiskIndex.create(`${inputPath}.out`);
    const counting = (name?: string) => {
      asked.push(name);
      return resolveModel(name);
    };
    const { models } = await scanFile(inputPath, index, { resolveModel: counting });
    expect(models.map(({ key }) => key)).toEqual(["simulator:m2", "simulator:demo"]);
    expect(asked).toEqual(["m2", undefined]);
    expect(index.nextMissing("simulator:m2", 0, 10).map(({ line }) => line)).toEqual([1, 3]);
    expect(index.nextMissing("simulator:m2", 1, 10).map(({ line }) => line)).toEqual([3]);
    expect(index.nextMissing("simulator:none", 0, 10)).toEqual([]);
    const found = index.nextMissing("simulator:demo", 0, 1)[0]!;
    expect(index.find(found.id)).toEqual(found);
    expect(index.lineOf(found.id)).toBe(2);
    expect(index.find("0".repeat(32))).toBeUndefined();
    expect(index.counts()).toMatchObject({ total: 4, missing: 4, succeeded: 0, failed: 0, malformed: 0 });
    expect(index.counts().models.get("simulator:demo")).toEqual({
      total: 2,
      missing: 2,
      succeeded: 0,
      failed: 0,
    });
  });
});

describe("what stops the run before anything is sent", () => {
  test("a custom_id that comes twice: both lines are named", async () => {
    const { error, inputPath } = await scanError([
      { prompt: "a", custom_id: "x" },
      { prompt: "b" },
      { prompt: "c", custom_id: "x" },
    ]);
    expect(error).toBeInstanceOf(InputError);
    expect(error.code).toBe("duplicate_custom_id");
    expect(error.message).toContain(`${inputPath}:3`);
    expect(error.message).toContain(`${inputPath}:1`);
  });

  test.each([
    ["before", [{ prompt: "a", custom_id: "line-3" }, { prompt: "b" }, { prompt: "c" }], 3, 1],
    ["after", [{ prompt: "a" }, { prompt: "b", custom_id: "line-1" }], 2, 1],
  ])("a custom_id that looks like the name of a row without one, %s it", async (_, rows, line, other) => {
    const { error, inputPath } = await scanError(rows);
    expect(error.code).toBe("duplicate_custom_id");
    expect(error.message).toContain(`${inputPath}:${line}: `);
    expect(error.message).toContain(`${inputPath}:${other}`);
    expect(error.hint).toContain("line-");
  });

  test("a malformed line's custom_id counts too", async () => {
    const { error } = await scanError([{ custom_id: "x" }, { prompt: "c", custom_id: "x" }]);
    expect(error.code).toBe("duplicate_custom_id");
  });

  test("an unknown provider, with its line", async () => {
    const { error, inputPath } = await scanError([{ prompt: "a" }, { prompt: "b", model: "nobody:x" }]);
    expect(error).toBeInstanceOf(InputError);
    expect(error.code).toBe("unknown_provider");
    expect(error.message).toContain(`${inputPath}:2: unknown provider "nobody"`);
  });

  test("a missing key stays a configuration error, with its line", async () => {
    const { error, inputPath } = await scanError([{ prompt: "a" }], {
      resolveModel: () => {
        throw new ConfigurationError("no key", "set it", "missing_key");
      },
    });
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error).toMatchObject({ code: "missing_key", hint: "set it", message: `${inputPath}:1: no key` });
  });

  test.each([
    ["empty", Buffer.alloc(0), "empty"],
    ["blank", Buffer.from("\n \r\n\n"), "empty"],
    ["UTF-16", Buffer.from('\ufeff{"prompt":"a"}\n', "utf16le"), "UTF-16"],
    ["compressed", gzipSync('{"prompt":"a"}\n'), "compressed"],
  ])("an input that is %s", async (_, content, word) => {
    const { error, inputPath } = await scanError(content);
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toContain(inputPath);
    expect(error.message).toContain(word);
  });

  test("an input that is absent or a folder", async () => {
    const folder = testFolder();
    mkdirSync(join(folder, "sub"));
    for (const name of ["none.jsonl", "sub"]) {
      using index = DiskIndex.create(join(folder, "out.jsonl"));
      const scan = scanFile(join(folder, name), index);
      await expect(scan).rejects.toThrow(InputError);
      await expect(scan).rejects.toThrow(name);
    }
  });
});

describe("an input that changes under the run", () => {
  test.each([
    ["edited in place", '{"prompt":"bXX"}\n{"prompt":"a"}\n'],
    ["cut", '{"prom'],
    ["another custom_id", '{"custom_id":1}\n{"prompt":"a"}\n'],
  ])("%s: the row is refused", async (_, text) => {
    const inputPath = writeInput([{ prompt: "bbb" }, { prompt: "a" }]);
    using index = DiskIndex.create(`${inputPath}.out`);
    const input = await InputFile.open({ inputPath });
    await scanInput({ input, index, resolveModel });
    const reader = new RowReader({ input, resolveModel });
    writeFileSync(inputPath, text);
    const read = reader.readRow(allMissing(index)[0]!);
    await expect(read).rejects.toMatchObject({
      code: "input_changed",
      message: expect.stringContaining("in.jsonl:1"),
    });
    await input.close();
  });
});
