import type { ContentBlockParam } from "@anthropic-ai/sdk/resources/messages/messages";
import type { ChatCompletionContentPart } from "openai/resources/chat/completions";
import { describe, expect, expectTypeOf, test } from "vitest";
import { toChatRequest } from "../../src/calls/chat-request.ts";
import { type AudioPart, type ContentPart, type FilePart, InvalidRequestError } from "../../src/index.ts";
import { checkRequest } from "../../src/producers/completion-job.ts";
import type { Dialect } from "../../src/shared/providers.ts";
import { estimatePromptTokens } from "../../src/shared/token-estimate.ts";
import { callOf, DIALECTS, failureOf, goodBody, testAdapter, testEntry } from "../support/provider.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");
const PDF = base64("%PDF-1.7 …");
const PDF_FILE = {
  type: "file",
  file: { filename: "bill.pdf", file_data: `data:application/pdf;base64,${PDF}` },
} as const;
const TEXT_FILE = {
  type: "file",
  file: { filename: "notes.txt", file_data: `data:text/plain;charset=utf-8;base64,${base64("Grüße 🌍")}` },
} as const;
const PNG = { type: "image_url", image_url: { url: "data:image/png;base64,aGk=", detail: "low" } } as const;
const LINK = { type: "image_url", image_url: { url: "https://example.org/a.png" } } as const;
const SOUND = { type: "input_audio", input_audio: { data: base64("RIFF"), format: "wav" } } as const;
const UPLOADED = { type: "file", file: { file_id: "file-1" } } as const;
const QUESTION = { type: "text", text: "What is this?" } as const;

/** What the adapter sends of the one user message. */
async function sentBy(dialect: Dialect, parts: readonly ContentPart[]) {
  const server = await wireServer((response) => sendJson(response, goodBody(dialect)));
  const adapter = testAdapter(testEntry(dialect, server.url));
  await adapter.complete(callOf(dialect, checkRequest(toChatRequest(parts, {}, {}))));
  return JSON.parse(server.requests[0]?.body ?? "").messages[0].content;
}

describe("parts of a message", () => {
  test("go to a provider of OpenAI's dialect as they are, all that its SDK knows and what it does not", async () => {
    const known = [QUESTION, PNG, LINK, SOUND, PDF_FILE, UPLOADED] satisfies ChatCompletionContentPart[];
    const parts: ContentPart[] = [
      ...known,
      { type: "video_url", video_url: { url: "https://example.org/v" } },
    ];
    expect(await sentBy("openai", parts)).toEqual(parts);
  });

  test("go to Anthropic in its words", async () => {
    const blocks = [
      { type: "text", text: "What is this?" },
      { type: "image", source: { type: "base64", media_type: "image/png", data: "aGk=" } },
      { type: "image", source: { type: "url", url: "https://example.org/a.png" } },
      {
        type: "document",
        source: { type: "base64", media_type: "application/pdf", data: PDF },
        title: "bill.pdf",
      },
      {
        type: "document",
        source: { type: "text", media_type: "text/plain", data: "Grüße 🌍" },
        title: "notes.txt",
      },
    ] satisfies ContentBlockParam[];
    expect(await sentBy("anthropic", [QUESTION, PNG, LINK, PDF_FILE, TEXT_FILE])).toEqual(blocks);
    const { filename: _, ...nameless } = PDF_FILE.file;
    expect(await sentBy("anthropic", [{ type: "file", file: nameless }])).toEqual([
      { type: "document", source: { type: "base64", media_type: "application/pdf", data: PDF } },
    ]);
  });

  test.each<[string, ContentPart, RegExp, RegExp]>([
    ["sound", SOUND, /content\[1\]\.input_audio/, /take no sound: send its transcript/],
    ["an uploaded file", UPLOADED, /content\[1\]\.file\.file_id/, /another provider's store: give file_data/],
    [
      "a spreadsheet",
      fileOf("data:application/vnd.ms-excel;base64,aGk="),
      /file_data/,
      /a PDF or a plain text/,
    ],
    ["a file without data", { type: "file", file: {} }, /file_data/, /a PDF or a plain text/],
    ["a file's address", fileOf("https://example.org/a.pdf"), /file_data/, /a PDF or a plain text/],
    [
      "a picture of no web format",
      { type: "image_url", image_url: { url: "data:image/tiff;base64,aGk=" } },
      /image_url/,
      /JPEG, PNG, GIF or WebP/,
    ],
    ["a film", { type: "video_url", video_url: {} }, /content\[1\]/, /text, image_url and file/],
  ])("that Anthropic has no word for are refused before the call: %s", async (_what, part, place, hint) => {
    const error = await failureOf(sentBy("anthropic", [QUESTION, part]));
    expect(error).toBeInstanceOf(InvalidRequestError);
    expect(error).toMatchObject({ code: "unsupported_parameter", hint: expect.stringMatching(hint) });
    expect((error as Error).message).toMatch(place);
  });

  test.each(DIALECTS)("may be larger than a text may, and arrive whole: %s", async (dialect) => {
    const data = Buffer.alloc(9 * 1024 * 1024, "pdf").toString("base64");
    const [part] = await sentBy(dialect, [fileOf(`data:application/pdf;base64,${data}`)]);
    expect((part.source?.data ?? part.file?.file_data)?.endsWith(data)).toBe(true);
  });

  test("complete themselves in an editor: each known type has its fields", () => {
    expectTypeOf<Extract<ContentPart, { type: "input_audio" }>>().toEqualTypeOf<AudioPart>();
    expectTypeOf<Extract<ContentPart, { type: "file" }>>().toEqualTypeOf<FilePart>();
    expectTypeOf<typeof SOUND>().toExtend<ContentPart>();
  });
});

describe("tokens of parts, as estimated", () => {
  const estimate = (part: ContentPart) =>
    estimatePromptTokens(checkRequest(toChatRequest([part], {}, {}))) - 4;
  const bytes = (count: number) => Buffer.alloc(count, "x").toString("base64");

  test.each<[string, ContentPart, number]>([
    [
      "a picture, large or small",
      { type: "image_url", image_url: { url: `data:image/png;base64,${bytes(300_000)}` } },
      1000,
    ],
    [
      "a minute of compressed sound",
      { type: "input_audio", input_audio: { data: bytes(960_000), format: "mp3" } },
      600,
    ],
    ["a text file by its bytes", fileOf(`data:text/plain;base64,${bytes(30_000)}`), 7516],
    ["a PDF of 3 MB", fileOf(`data:application/pdf;base64,${bytes(3_000_000)}`), 30_000],
    ["a small PDF", fileOf(`data:application/pdf;base64,${bytes(3000)}`), 1000],
    ["an uploaded file, of which nothing is known", UPLOADED, 1000],
  ])("%s", (_what, part, tokens) => {
    expect(estimate(part) / tokens).toBeCloseTo(1, 1);
  });
});

function fileOf(file_data: string): ContentPart {
  return { type: "file", file: { filename: "a", file_data } };
}
