import { Secret } from "./secret.ts";

/** Stands for what is not told. */
export const HIDDEN = "[redacted]";

/** Fields that no log has, whatever they hold and however their names are written: keys, and what people and models say. */
const NAMES = [
  ...["apiKey", "password", "authorization", "secret", "token", "cookie", "dsn", "headers"],
  ...["prompt", "systemPrompt", "system", "messages", "messageList", "content", "contents"],
  ...[
    "completion",
    "answer",
    "answerText",
    "response",
    "finalResponse",
    "rawResponse",
    "body",
    "requestBody",
  ],
  ...["arguments", "toolArguments", "args", "toolResult", "transcript", "embedding", "embeddings"],
];
const HIDDEN_FIELDS = new Set(NAMES.map(normal));
/** The same as code writes them, for where they can only be named: `apiKey`, `api_key`. */
export const HIDDEN_PATHS: readonly string[] = [...new Set([...NAMES, ...NAMES.map(inSnakeCase)])];
const MAX_DEPTH = 4;

/** What a line has that has something of those below: one look for it is cheaper than theirs, and most lines have none. */
const MAY_HAVE_KEY = /[sgpr]k[-_]|(?:xai|whsec)[-_]|AIza|(?:bearer|basic)\s|:\/\//i;
/** Keys as vendors write them, and addresses with a password. */
const KEY_LIKE = /\b(?:sk|gk|pk|rk|xai|whsec|gsk)[-_][\w-]{12,}|\bAIza[\w-]{20,}/g;
const BEARER = /\b(bearer|basic)\s+[\w.~+/-]{8,}=*/gi;
const PASSWORD_IN_URL = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s:@/"\\]*):[^\s@/"\\]+@/gi;
/** A shorter value may be a word. */
const MIN_SECRET_CHARS = 8;

const secrets = new Set<string>();

/** Keeps a value out of all later lines of this process' logs. Values of fewer than 8 characters are not looked for. */
export function hideInLogs(secret: Secret | string | undefined): void {
  const value = secret instanceof Secret ? secret.reveal() : secret;
  if (value !== undefined && value.length >= MIN_SECRET_CHARS)
    secrets.add(JSON.stringify(value).slice(1, -1));
}

/** Returns a line of a log without keys. */
export function hideSecrets(line: string): string {
  let hidden = line;
  for (const secret of secrets) if (hidden.includes(secret)) hidden = hidden.replaceAll(secret, HIDDEN);
  if (!MAY_HAVE_KEY.test(hidden)) return hidden;
  hidden = hidden.replace(KEY_LIKE, HIDDEN).replace(BEARER, `$1 ${HIDDEN}`);
  // It takes longer than all the others, and most lines have no address.
  return hidden.includes("://") ? hidden.replace(PASSWORD_IN_URL, `$1:${HIDDEN}@`) : hidden;
}

/** Returns a line's fields without those that say what people and models said, and without keys. */
export function hideFields(fields: Record<string, unknown>): Record<string, unknown> {
  return hideIn(fields, 0) as Record<string, unknown>;
}

function hideIn(value: object, depth: number): object {
  let copy: Record<string, unknown> | undefined;
  for (const name of Object.keys(value)) {
    const field = (value as Record<string, unknown>)[name];
    const shown = isHidden(name) ? HIDDEN : shownOf(field, depth);
    if (shown === field) continue;
    copy ??= { ...value };
    copy[name] = shown;
  }
  return copy ?? value;
}

function shownOf(field: unknown, depth: number): unknown {
  if (typeof field !== "object" || field === null || field instanceof Error) return field;
  if (depth >= MAX_DEPTH) return "[nested]";
  if (Array.isArray(field)) return field.map((item) => shownOf(item, depth + 1));
  return hideIn(field, depth + 1);
}

/** What was found of names, since lines have the same ones; bounded, since a name may be anybody's. */
const known = new Map<string, boolean>();
const MAX_KNOWN = 1000;

function isHidden(name: string): boolean {
  const found = known.get(name);
  if (found !== undefined) return found;
  const hidden = HIDDEN_FIELDS.has(normal(name));
  if (known.size < MAX_KNOWN) known.set(name, hidden);
  return hidden;
}

function normal(name: string): string {
  return name.replaceAll("_", "").toLowerCase();
}

function inSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
