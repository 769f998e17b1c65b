import type { OpenToolSet, ToolSet, ToolSetHost } from "../shared/tool.ts";

/** The sets of tools that a worker process has opened, each once. */
export class ToolSets {
  readonly #host: ToolSetHost;
  readonly #open = new Map<ToolSet, OpenToolSet>();

  constructor(host: ToolSetHost) {
    this.#host = host;
  }

  of(set: ToolSet): OpenToolSet {
    const known = this.#open.get(set) ?? set.open(this.#host);
    this.#open.set(set, known);
    return known;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((open) => open.close()));
  }
}
