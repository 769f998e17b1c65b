import { readFileSync } from "node:fs";
import { InputError } from "../shared/errors.ts";
import type { JsonSchema } from "../shared/json-schema.ts";

/** A JSON Schema in a file. @throws InputError */
export function readSchemaFile(path: string): JsonSchema {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as JsonSchema;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new InputError(
      `the schema file ${path} cannot be read: ${code ?? message}`,
      "give a file with a JSON Schema of draft 2020-12",
    );
  }
}
