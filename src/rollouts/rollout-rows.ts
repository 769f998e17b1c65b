import { open } from "node:fs/promises";
import { inputFileError } from "../batch/file-errors.ts";
import { isBlank, readLines } from "../batch/line-reader.ts";
import { type Message, messageSchema } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import { isObject, parseJson } from "../shared/json.ts";

const MAX_LINE_BYTES = 20 * 1024 * 1024;
/** The fields in which a row may have its prompt, the first that it has. */
const PROMPT_FIELDS = ["prompt", "messages", "question"];

/** A row of the input: its fields, and the messages that are asked. */
export interface RolloutRow {
  row: Record<string, unknown>;
  prompt: Message[];
}

interface RowOptions {
  /** The field that holds the prompt; default: `prompt`, `messages` or `question`. */
  promptField?: string | undefined;
  /** Put before prompts that have no system prompt of their own. */
  system?: string | undefined;
  /** Only so many rows. */
  limit?: number | undefined;
}

/**
 * Returns the rows of a file of JSON lines, or of a list.
 * @throws InputError naming the row that has no prompt, or when there is none at all
 */
export async function readRows(
  input: string | readonly Record<string, unknown>[],
  options: RowOptions = {},
): Promise<RolloutRow[]> {
  const { limit = Number.POSITIVE_INFINITY } = options;
  const rows: RolloutRow[] = [];
  for await (const { value, place } of typeof input === "string" ? linesOf(input) : listed(input)) {
    if (rows.length >= limit) break;
    rows.push(toRow(value, place, options));
  }
  if (rows.length > 0) return rows;
  throw new InputError(
    "there are no prompts",
    'give rows such as {"prompt": "…", "answer": "…"}',
    "empty_input",
  );
}

async function* linesOf(path: string) {
  const handle = await open(path, "r").catch((error: unknown) => {
    throw inputFileError(error, path);
  });
  try {
    for await (const line of readLines(handle, MAX_LINE_BYTES)) {
      if (isBlank(line)) continue;
      const value = line.tooLong ? undefined : parseJson(line.data.toString());
      yield { value, place: `line ${line.line} of ${path}` };
    }
  } catch (error) {
    throw (error as NodeJS.ErrnoException).errno === undefined ? error : inputFileError(error, path);
  } finally {
    await handle.close();
  }
}

async function* listed(rows: readonly unknown[]) {
  for (const [i, value] of rows.entries()) yield { value, place: `prompts[${i}]` };
}

function toRow(value: unknown, place: string, { promptField, system }: RowOptions): RolloutRow {
  if (!isObject(value)) throw new InputError(`${place} is no JSON object`);
  const field = promptField ?? PROMPT_FIELDS.find((name) => value[name] !== undefined) ?? "prompt";
  const given = value[field];
  const asked = typeof given === "string" ? [{ role: "user" as const, content: given }] : given;
  const messages = messageSchema.array().min(1).safeParse(asked);
  const isEmpty = typeof given === "string" && given.trim() === "";
  if (!messages.success || isEmpty) {
    const hint = "give a text, or messages with role and content; promptField names another field";
    throw new InputError(`${place} has no prompt in "${field}"`, hint, "empty_prompt");
  }
  const hasSystem = messages.data.some(({ role }) => role === "system" || role === "developer");
  const first: Message[] = system === undefined || hasSystem ? [] : [{ role: "system", content: system }];
  return { row: value, prompt: [...first, ...messages.data] };
}
