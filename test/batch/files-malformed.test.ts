import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { DiskIndex } from "../../src/batch/disk-index.ts";
import { InputError } from "../../src/shared/errors.ts";
import { allMissing, openRun, scanError, scanFile, writeInput } from "./files-fixture.ts";

describe("malformed lines", () => {
  const deep = `${'{"type":"text","x":'.repeat(200)}1${"}".repeat(200)}`;
  const cases: [string, string | Buffer, string][] = [
    ["bad JSON", '{"prompt":"SECRET"', "invalid_json_line"],
    ["not an object", '["SECRET"]', "invalid_json_line"],
    ["null", "null", "invalid_json_line"],
    ["NUL bytes", '{"prompt":"SECRET\0"}', "invalid_json_line"],
    [
      "invalid UTF-8",
      Buffer.concat([Buffer.from('{"prompt":"SECRET'), Buffer.from([0xff, 0x22, 0x7d])]),
      "invalid_encoding",
    ],
    ["missing prompt", '{"custom_id":"c","question":"SECRET"}', "missing_prompt"],
    ["rows within requests", '{"requests":[{"custom_id":"c","params":{}}]}', "missing_prompt"],
    ["empty prompt", '{"prompt":"  "}', "invalid_prompt"],
    ["prompt of another type", '{"prompt":42}', "invalid_prompt"],
    ["prompt and messages", '{"prompt":"SECRET","messages":[]}', "invalid_request"],
    ["no messages", '{"messages":[]}', "invalid_request"],
    ["messages that are text", '{"messages":"SECRET","system":"s"}', "invalid_request"],
    ["unknown role", '{"messages":[{"role":"SECRET","content":"x"}]}', "invalid_request"],
    ["bad parameter", '{"prompt":"SECRET","temperature":"SECRET"}', "invalid_request"],
    ["parameter out of range", '{"prompt":"SECRET","temperature":9}', "invalid_request"],
    ["tools that are none", '{"prompt":"SECRET","tools":["SECRET"]}', "invalid_request"],
    ["model that is no text", '{"prompt":"SECRET","model":{"SECRET":1}}', "invalid_request"],
    [
      "wrong method",
      '{"custom_id":"c","method":"GET","url":"/v1/chat/completions","body":{}}',
      "invalid_method",
    ],
    ["wrong url", '{"custom_id":"c","method":"POST","url":"/v1/completions","body":{}}', "invalid_url"],
    ["no url", '{"custom_id":"c","method":"POST","body":{}}', "invalid_url"],
    [
      "embeddings of numbers that are no token ids",
      '{"custom_id":"c","method":"POST","url":"/v1/embeddings","body":{"input":[1,-2]}}',
      "invalid_request",
    ],
    [
      "body that is text",
      '{"method":"POST","url":"/v1/chat/completions","body":"SECRET"}',
      "invalid_request",
    ],
    [
      "streaming",
      '{"method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"SECRET"}],"stream":true}}',
      "invalid_request",
    ],
    ["custom_id too long", `{"prompt":"SECRET","custom_id":"${"S".repeat(513)}"}`, "invalid_custom_id"],
    ["half a character", '{"prompt":"SECRET \\ud83d"}', "invalid_encoding"],
    ["half a character as a key", '{"prompt":"x","\\udc00SECRET":1}', "invalid_encoding"],
    ["custom_id that is an object", '{"prompt":"SECRET","custom_id":{}}', "invalid_custom_id"],
    ["text over 4 MiB", JSON.stringify({ prompt: `SECRET${"x".repeat(5_000_000)}` }), "invalid_request"],
    ["too deep", `{"messages":[{"role":"user","content":[${deep}]}]}`, "invalid_request"],
    ["over 20 MiB", JSON.stringify({ prompt: `SECRET${"x".repeat(21 * 1024 * 1024)}` }), "line_too_long"],
  ];

  test.each(cases)("%s is a failed row, not a failed run", async (_, line, code) => {
    const content = Buffer.concat([
      Buffer.from('{"prompt":"a"}\n'),
      Buffer.from(line),
      Buffer.from('\n{"prompt":"b"}\n'),
    ]);
    const inputPath = writeInput(content);
    const { index, output, scan } = await openRun(inputPath, `${inputPath}.out`);
    expect(scan).toMatchObject({ rows: 3, malformed: 1 });
    expect(index.counts()).toMatchObject({ total: 3, missing: 2, failed: 1, malformed: 1 });
    expect(allMissing(index).map((row) => row.line)).toEqual([1, 3]);
    await output.close();

    const { error } = await scanError(content, { strict: true });
    expect(error).toBeInstanceOf(InputError);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/in\.jsonl:2: ./);
    expect(error.message).not.toContain("SECRET");
    expect(error.hint).toBeTruthy();
  });

  const broken: [string, string, string][] = [
    ["NaN", '{"prompt":"x","temperature":NaN}', "NaN and Infinity are no JSON, at column 29"],
    ["-Infinity", '{"prompt":"x","temperature": -Infinity}', "NaN and Infinity are no JSON, at column 30"],
    ["a trailing comma", '{"prompt":"x",}', "a comma too many before the bracket, at column 15"],
    ["a trailing comma in a list", '{"messages":[1,]}', "a comma too many before the bracket, at column 16"],
    ["a byte order mark", '\ufeff{"prompt":"x"}', "byte order mark in the middle, at column 1"],
    ["two objects", '{"prompt":"x"}{"prompt":"y"}', "a second value follows on the same line, at column 15"],
    ["Python's words", '{"prompt":"x","seed":None}', "Python's notation, at column 22"],
    ["single quotes", "{'prompt':'x'}", "a single quote, at column 2"],
    ["a cut line", '{"prompt":"x","messages":[{', "it breaks off, at column 28"],
    ["a cut text", '{"prompt":"SECRET', "it breaks off within a text, at column 18"],
    ["a control character", '{"prompt":"a\tb"}', "a bare control character, at column 13"],
    ["a bad escape", '{"prompt":"C:\\x"}', "an escape that JSON does not know, at column 14"],
    ["a comment", '{"prompt":"x"} // SECRET', "there is a comment, at column 16"],
    ["a leading zero", '{"prompt":"x","seed":007}', "a number begins with 0, at column 22"],
  ];

  test.each(broken)("%s: the message says what and where", async (_, line, reason) => {
    const { error } = await scanError(Buffer.from(`{"prompt":"a"}\n${line}\n`), { strict: true });
    expect(error.code).toBe("invalid_json_line");
    expect(error.message).toContain(reason);
    expect(error.message).not.toContain("SECRET");
  });

  test("a binary file is refused in one sentence, never a crash", async () => {
    for (let round = 0; round < 20; round += 1) {
      const { error } = await scanError(Buffer.concat([Buffer.from("x"), randomBytes(4096)]));
      expect(error).toMatchObject({
        code: "unknown_format",
        message: expect.stringContaining("at column 1"),
      });
    }
  });

  test("equal malformed lines are rows of their own, with stable identities", async () => {
    const inputPath = writeInput(["{", "{", { prompt: "a" }]);
    const ids = async () => {
      using index = DiskIndex.create(`${inputPath}.out`);
      await scanFile(inputPath, index);
      const rows = index.database.prepare("SELECT hex(id) AS id FROM rows ORDER BY line").all();
      return rows.map(({ id }) => id);
    };
    const first = await ids();
    expect(new Set(first).size).toBe(3);
    expect(await ids()).toEqual(first);
  });
});
