import { z } from "zod";
import { uuidHere } from "./tool-run.ts";

/** What a conversation may be called: by its user, or `conv-<uuid>` by the client. */
export const conversationIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9_.-]{1,128}$/, "must be 1 to 128 letters, digits, _, . or -");

/** As it is stored: of a tenant but `default`, `<tenant>/<id>`. */
export const storedConversationIdSchema = z
  .string()
  .regex(/^(?:[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\/)?[A-Za-z0-9_.-]{1,128}$/);

export function newConversationId(): string {
  return `conv-${uuidHere("a new conversation")}`;
}

/** Such an id is only ever made by the client: given by a user, it is that of an older conversation. */
export function isMadeId(id: string): boolean {
  return /^conv-[0-9a-f-]{36}$/.test(id);
}
