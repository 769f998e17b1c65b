import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { InputError } from "../shared/errors.ts";
import { parseJson } from "../shared/json.ts";
import { checkWith } from "../shared/schema-check.ts";
import {
  callHeadersSchema,
  providerOptionsSchema,
  querySchema,
  type WireOptions,
} from "../shared/wire-options.ts";
import { collect } from "./options.ts";

/** What a command line says to providers in their own words. */
export interface WireFlags {
  providerOptions?: string;
  header?: string[];
  query?: string[];
}

/** Adds `--provider-options`. */
export function addProviderOptions(command: Command): Command {
  return command.option(
    "--provider-options <json>",
    "fields in a provider's own words, by entry or dialect: '{\"anthropic\": {…}}', or @FILE",
  );
}

/** Adds `--provider-options`, `--header` and `--query`. */
export function addWireOptions(command: Command): Command {
  return addProviderOptions(command)
    .option("--header <name: value>", "a header of the provider calls, no key (repeatable)", collect)
    .option("--query <name=value>", "a parameter in the address of the provider calls (repeatable)", collect);
}

/** Returns what the flags say. @throws InputError naming the flag that is wrong */
export function readWireOptions({ providerOptions, header, query }: WireFlags): WireOptions {
  return {
    ...(providerOptions !== undefined && {
      providerOptions: checkWith(providerOptionsSchema, jsonOf(providerOptions), "--provider-options"),
    }),
    ...(header && { headers: checkWith(callHeadersSchema, pairs(header, ":", "--header"), "--header") }),
    ...(query && { query: checkWith(querySchema, pairs(query, "=", "--query"), "--query") }),
  };
}

function jsonOf(given: string): unknown {
  const isFile = given.startsWith("@");
  let text = given;
  try {
    if (isFile) text = readFileSync(given.slice(1), "utf8");
  } catch {
    throw new InputError(`--provider-options: the file ${given.slice(1)} cannot be read`);
  }
  const value = parseJson(text);
  if (value === undefined)
    throw new InputError(`--provider-options${isFile ? `: ${given.slice(1)}` : ""} is not JSON`);
  return value;
}

function pairs(given: readonly string[], separator: string, flag: string): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf(separator);
      if (at < 1) throw new InputError(`${flag} must be NAME${separator}VALUE`);
      return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    }),
  );
}
