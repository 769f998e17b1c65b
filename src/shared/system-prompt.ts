import { InputError } from "./errors.ts";

/** A tool as a system prompt names it. */
export interface PromptTool {
  readonly name: string;
  readonly description?: string;
}

/** Options of a system prompt. */
export interface SystemPromptOptions {
  /** The instructions, which stand in the prompt as they are: they may use tags of their own. */
  instructions: string;
  /** The text with `{instructions}` and, where the tools are to be named, `{tools}`. Default: both, in XML tags. */
  template?: string;
}

const PLACEHOLDER = /\{([A-Za-z_]\w*)\}/g;
const KNOWN = ["instructions", "tools"];

/**
 * A system prompt that also names the tools of the call, wherever a `system` is taken.
 *
 * ```ts
 * new SystemPrompt({ instructions: "You are brief.", template: "{instructions}\n\nYou may call:\n{tools}" });
 * ```
 */
export class SystemPrompt {
  readonly instructions: string;
  readonly template: string | undefined;

  /**
   * Makes a system prompt.
   * @throws InputError for an unknown placeholder, and for a template without `{instructions}`.
   */
  constructor({ instructions, template }: SystemPromptOptions) {
    const names = [...(template ?? "{instructions}").matchAll(PLACEHOLDER)].map(([, name = ""]) => name);
    const unknown = names.find((name) => !KNOWN.includes(name));
    if (unknown) {
      throw new InputError(
        `the template has the unknown placeholder {${unknown}}`,
        "known are {instructions} and {tools}",
      );
    }
    if (!names.includes("instructions")) throw new InputError("the template lacks {instructions}");
    this.instructions = instructions;
    this.template = template;
  }

  /** Returns the prompt's text; without tools their part is empty. */
  format({ tools = [] }: { tools?: readonly PromptTool[] } = {}): string {
    const list = tools.map(toXml).join("\n");
    const parts: Record<string, string> = {
      instructions: this.instructions,
      tools: list === "" ? "" : `<tools>\n${list}\n</tools>`,
    };
    if (this.template === undefined) {
      return [`<instructions>\n${this.instructions}\n</instructions>`, parts.tools]
        .filter(Boolean)
        .join("\n");
    }
    return this.template.replace(PLACEHOLDER, (_, name: string) => parts[name] ?? "");
  }
}

/** Returns whether a value is a system prompt, of any copy of this package: a module of agents may have its own. */
export function isSystemPrompt(value: unknown): value is SystemPrompt {
  return typeof (value as SystemPrompt | null)?.format === "function";
}

function toXml({ name, description }: PromptTool): string {
  return description === undefined
    ? `<tool name="${escapeXml(name)}"/>`
    : `<tool name="${escapeXml(name)}">${escapeXml(description)}</tool>`;
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (char) => ENTITIES[char] ?? char);
}
