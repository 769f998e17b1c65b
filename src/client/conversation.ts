import { z } from "zod";
import type { ChatMessage, CompletionMessage, EnqueueOptions } from "../calls/completion-options.ts";
import { type Message, type Role, toMessage } from "../calls/message.ts";
import type { ModelNames } from "../calls/model-chain.ts";
import { sharedOptions, toolsOrNamesOption } from "../calls/option-schemas.ts";
import { type TrimOption, trimOption } from "../calls/steps-options.ts";
import type { CompletionInput } from "../producers/completion-producer.ts";
import { messageSchema } from "../shared/chat.ts";
import { toMessages, toRequestMessages } from "../shared/conversation.ts";
import { conversationIdSchema, isMadeId, newConversationId } from "../shared/conversation-id.ts";
import { InputError } from "../shared/errors.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { SystemPrompt } from "../shared/system-prompt.ts";
import { tenantName } from "../shared/tenant.ts";
import type { Tool } from "../shared/tool.ts";
import type { ConversationRef } from "../store/conversation.ts";
import { Caller } from "./caller.ts";
import type { Connection } from "./connection.ts";

/** Options of a conversation. */
export interface ConversationOptions {
  /** The id to begin or go on with: 1 to 128 letters, digits, `_`, `.` or `-`. Default: a new `conv-<uuid>`. */
  id?: string;
  /** Whether an id that Redis does not have is refused (`unknown_conversation`); default: for ids that a client made. */
  mustExist?: boolean;
  /** The system prompt of the calls that have none of their own; default: the client's. */
  system?: string | SystemPrompt;
  /** The tools of the calls that name none; default: the client's. */
  tools?: readonly (Tool | string)[];
  /** The most answers with tool calls, 1 to 1,000, of the calls that say nothing of it; default: the client's. */
  maxToolIterations?: number;
  /** The model, or the models in the order to try them in, of the calls that name none; default: the client's. */
  model?: ModelNames;
  /** Whether the calls that say nothing of it may leave the oldest turns out (see `EnqueueOptions`); default false. */
  trim?: TrimOption;
  /**
   * The most USD that all its calls may cost together; kept with the conversation, for whoever goes on with it, until
   * another limit is given. Calls stop before the one that could pass it (CostLimitError). Default: no limit.
   */
  maxCostUsd?: number;
}

/** The sums of a conversation's answers. */
export interface ConversationUsage {
  /** The number of provider calls that brought an answer. */
  calls: number;
  /** The tokens of these calls. */
  tokensUsed: { prompt: number; completion: number; total: number; cached: number };
  /** The cost in USD; null as soon as an answer's cost is unknown. */
  costUsd: number | null;
  /** The number of answers whose cost is unknown. */
  unpriced: number;
  /** The number of answers whose tokens, and so their cost, are a guess, since their provider did not report them; absent for none. */
  estimated?: number;
}

const optionsSchema: z.ZodType<ConversationOptions> = z.strictObject({
  id: z.string().optional(),
  mustExist: z.boolean().optional(),
  system: sharedOptions.system,
  tools: toolsOrNamesOption,
  maxToolIterations: sharedOptions.maxToolIterations,
  model: sharedOptions.model,
  trim: trimOption,
  maxCostUsd: sharedOptions.maxCostUsd,
});

/** Returns the job of a conversation's call: the one thing that it needs of its client. */
export type ToInput = (
  message: CompletionMessage,
  options: EnqueueOptions,
  conversation: ConversationRef,
) => CompletionInput;

/**
 * A conversation in Redis: each call knows all turns before it, whichever process made them, and waits for those that
 * have no answer yet. It is kept for 30 days after its last message. `glue.conversation()` makes one.
 */
export class Conversation extends Caller {
  readonly #toInput: ToInput;
  readonly #defaults: EnqueueOptions;
  readonly #tenant: string | undefined;
  #ref: ConversationRef;

  /** Makes a conversation. @throws InputError when the id is none, or naming the option that is unknown or wrong. */
  constructor(
    connection: Connection,
    toInput: ToInput,
    options: ConversationOptions = {},
    tenant?: string | undefined,
  ) {
    const { id, mustExist, maxCostUsd, ...defaults } = checkWith(
      optionsSchema,
      options,
      "the conversation's options",
      "are",
    );
    super(connection);
    this.#tenant = tenant;
    this.#toInput = toInput;
    this.#defaults = defaults;
    const ref = id === undefined ? newConversation(tenant) : conversationRef(id, { mustExist, tenant });
    this.#ref = { ...ref, maxCostUsd };
  }

  /** The id, which opens the conversation again in any process: `glue.conversation({ id })`. */
  get id(): string {
    return this.#ref.id.slice(this.#ref.id.indexOf("/") + 1);
  }

  /** @internal */
  override toInput(message: CompletionMessage, options: EnqueueOptions): CompletionInput {
    return this.#toInput(message, withDefaults(options, this.#defaults), this.#ref);
  }

  /** Returns all messages so far, those of failed calls included. @throws InputError `unknown_conversation` */
  async messages(): Promise<Message[]> {
    const turns = await this.connection.use((producer) => producer.turns(this.#ref));
    return turns.flatMap(({ createdAt, asked, answer }) => [
      ...asked.map((message) => toMessage(message, new Date(createdAt))),
      ...(answer?.messages ?? []).map((message) => toMessage(message, new Date(answer?.at ?? createdAt))),
    ]);
  }

  /** Adds a message without a call, such as one of an older history. @throws InputError as `enqueue` */
  async addMessage(role: Exclude<Role, "tool">, content: string): Promise<void> {
    if (!["system", "user", "assistant"].includes(role)) {
      throw new InputError(
        `a message of the role "${role}" cannot be added`,
        "add those of system, user and assistant; results of tools go with the messages of a call",
      );
    }
    const { content: text } = checkWith(messageSchema, { role, content }, "the message");
    if (typeof text !== "string") throw new InputError("the message is wrong at content: it must be a text");
    if (content.trim() === "") throw new InputError("the message is empty", undefined, "empty_prompt");
    const messages = [{ role, content }];
    await this.connection.use((producer) => producer.addMessages(this.#ref, messages));
  }

  /** Returns the messages as the next call sends them before its own. @throws InputError `unknown_conversation` */
  async toProviderMessages(): Promise<ChatMessage[]> {
    const turns = await this.connection.use((producer) => producer.turns(this.#ref));
    // What providers want back is between them and the worker.
    return toRequestMessages(turns.flatMap(toMessages), []).map(
      ({ vendor_state: _, ...message }) => message as ChatMessage,
    );
  }

  /** Returns what its answers cost so far. @throws InputError `unknown_conversation` */
  async usage(): Promise<ConversationUsage> {
    const sums = await this.connection.use((producer) => producer.sums(this.#ref));
    const { calls, promptTokens: prompt, completionTokens: completion, cachedTokens: cached } = sums;
    return {
      calls,
      tokensUsed: { prompt, completion, total: prompt + completion, cached },
      costUsd: sums.unpriced > 0 ? null : sums.costUsd,
      unpriced: sums.unpriced,
      ...(sums.estimated > 0 && { estimated: sums.estimated }),
    };
  }

  /** Goes on as a new conversation, under a new id; the old one stays under its own. */
  reset(): void {
    const { maxCostUsd } = this.#ref;
    this.#ref = { ...newConversation(this.#tenant), maxCostUsd };
  }
}

/** Returns the reference to a conversation. @throws InputError when the id is none. */
export function conversationRef(
  id: string,
  { mustExist = isMadeId(id), tenant }: { mustExist?: boolean | undefined; tenant: string | undefined },
): ConversationRef {
  const parsed = conversationIdSchema.safeParse(id);
  if (parsed.success) return { id: tenantName(tenant, id), mustExist };
  throw new InputError(`"${id}" is no conversation's id`, `it ${parsed.error.issues[0]?.message}`);
}

function newConversation(tenant: string | undefined): ConversationRef {
  return { id: tenantName(tenant, newConversationId()), mustExist: false };
}

function withDefaults(options: EnqueueOptions, defaults: EnqueueOptions): EnqueueOptions {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}
