import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigurationError } from "./errors.ts";
import { isTool, type Tool, toolsByName } from "./tool.ts";

/** What modules bring into a worker, by name. */
export interface Definitions {
  tools: ReadonlyMap<string, Tool>;
}

/**
 * Imports modules by their paths, and gathers what they export: tools, alone or in arrays.
 * @throws ConfigurationError naming the module that cannot be loaded or exports nothing of use, or the name that two
 * of its definitions share.
 */
export async function loadModules(paths: readonly string[], cwd = process.cwd()): Promise<Definitions> {
  const found = await Promise.all(paths.map((path) => toolsIn(path, resolve(cwd, path))));
  return { tools: toolsByName(found.flat()) };
}

async function toolsIn(path: string, file: string): Promise<Tool[]> {
  const exported = await load(path, file);
  const values = Object.values(exported).flatMap((value: unknown) =>
    Array.isArray(value) ? value : [value],
  );
  const tools = values.filter(isTool);
  if (tools.length > 0) return tools;
  throw new ConfigurationError(
    `the module ${path} exports no tools`,
    "export what defineTool returns",
    "module_without_definitions",
  );
}

async function load(path: string, file: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new ConfigurationError(
      `the module ${path} cannot be loaded: ${reason}`,
      "give a JavaScript or TypeScript file",
      "module_not_loaded",
    );
  }
}
