/** A pattern that finds one kind of thing in a text, and whether a match is one; the pattern is global. */
export interface Finder {
  kind: string;
  pattern: RegExp;
  isOne?: (match: string) => boolean;
}

/** Returns the kinds that a text has, each once, and the text with `[KIND]` in the place of each. */
export function find(text: string, finders: readonly Finder[]): { kinds: string[]; masked: string } {
  const kinds = new Set<string>();
  let masked = text;
  for (const { kind, pattern, isOne } of finders) {
    masked = masked.replace(pattern, (match) => {
      if (isOne && !isOne(match)) return match;
      kinds.add(kind);
      return `[${kind.toUpperCase()}]`;
    });
  }
  return { kinds: [...kinds], masked };
}

const digitsOf = (text: string) => text.replace(/\D/g, "");

/** Luhn's check of a card's number. */
function isCard(text: string): boolean {
  const digits = digitsOf(text);
  if (digits.length < 13 || digits.length > 19 || /^(\d)\1+$/.test(digits)) return false;
  let sum = 0;
  for (const [i, digit] of [...digits].reverse().entries()) {
    const doubled = i % 2 === 1 ? Number(digit) * 2 : Number(digit);
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}

/** The check of an IBAN (ISO 13616): modulo 97. */
function isIban(text: string): boolean {
  const compact = text.replace(/\s/g, "").toUpperCase();
  if (compact.length < 15 || compact.length > 34) return false;
  const moved = compact.slice(4) + compact.slice(0, 4);
  let rest = 0;
  for (const char of moved) {
    const value = /\d/.test(char) ? char : String(char.charCodeAt(0) - 55);
    for (const digit of value) rest = (rest * 10 + Number(digit)) % 97;
  }
  return rest === 1;
}

function isIpv4(text: string): boolean {
  return text.split(".").every((part) => Number(part) <= 255);
}

/** What can be told of people by its form. Names and places cannot. */
export const PII: readonly Finder[] = [
  { kind: "email", pattern: /[\p{L}\p{N}._%+-]{1,64}@(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,24}/gu },
  {
    kind: "iban",
    pattern: /\b[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,4})?)\b/g,
    isOne: isIban,
  },
  // A part of a UUID is none, here and below.
  { kind: "card", pattern: /(?<!\w|[0-9a-f]{4}-)\d(?:[ -]?\d){12,18}(?!\w|-\w)/g, isOne: isCard },
  { kind: "ssn", pattern: /\b(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b/g },
  {
    kind: "phone",
    pattern:
      /(?<!\w|[0-9a-f]{4}-|\d\.)(?:\+\d{1,3}[ .-]?)?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]\d{2,4}){2,4}(?!\w|-\w|\.\d)|\+\d{8,15}\b/g,
    isOne: (match) =>
      digitsOf(match).length >= 8 && digitsOf(match).length <= 15 && !/^\d{4}-\d{2}-\d{2}(?!\d)/.test(match),
  },
  { kind: "ip", pattern: /(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])/g, isOne: isIpv4 },
];

/** Keys and passwords by their makers' forms. */
export const SECRETS: readonly Finder[] = [
  {
    kind: "private_key",
    pattern:
      /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]{0,4000}?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g,
  },
  {
    kind: "api_key",
    pattern: /\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or|svcacct|admin)?[-_]?[A-Za-z0-9_-]{16,200}/g,
  },
  { kind: "aws_key", pattern: /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g },
  { kind: "github_token", pattern: /\b(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{50,251})/g },
  { kind: "gitlab_token", pattern: /\bglpat-[A-Za-z0-9_-]{20,64}/g },
  { kind: "slack_token", pattern: /\bxox[abeprs]-[A-Za-z0-9-]{10,250}/g },
  { kind: "google_key", pattern: /\bAIza[A-Za-z0-9_-]{35}/g },
  { kind: "npm_token", pattern: /\bnpm_[A-Za-z0-9]{36}\b/g },
  { kind: "jwt", pattern: /\beyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{4,8000}\.[A-Za-z0-9_-]{8,4000}/g },
  { kind: "url_password", pattern: /\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/@]{1,200}:[^\s:/@]{1,200}@/gi },
  {
    kind: "password",
    pattern:
      /\b(?:password|passwd|secret|api[_-]?key|access[_-]?token)["']?\s{0,4}[:=]\s{0,4}["']?[^\s"',;]{8,200}/gi,
  },
];

/** What texts say that want to change what the model was told. They show an attempt; that none is there shows nothing. */
export const INJECTIONS: readonly Finder[] = [
  {
    kind: "ignore_instructions",
    pattern:
      /\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|all|any|your|system)\b[^.\n]{0,30}\b(?:instruction|prompt|rule|direction|guideline|message)s?\b/gi,
  },
  {
    kind: "reveal_prompt",
    pattern:
      /\b(?:reveal|print|show|repeat|output|tell me|what (?:is|are))\b[^.\n]{0,30}\b(?:your|the) (?:system|initial|hidden|secret|original)\b[^.\n]{0,20}\b(?:prompt|instruction|message|rule)s?\b/gi,
  },
  {
    kind: "new_role",
    pattern:
      /\b(?:you are now|from now on you are|act as|pretend to be)\b[^.\n]{0,40}\b(?:dan|jailbr\w+|unrestricted|unfiltered|developer mode|no (?:rules|restrictions|limits))\b/gi,
  },
  {
    kind: "chat_markup",
    pattern:
      /<\|(?:im_start|im_end|system|endoftext|eot_id|start_header_id)\|>|\[\/?INST\]|<<\/?SYS>>|^\s{0,3}#{2,4}\s?(?:system|instruction)s?\s?:/gim,
  },
  { kind: "hidden_text", pattern: /[\u{E0000}-\u{E007F}]{3,}|[\u200B-\u200F\u2060-\u2064]{6,}/gu },
];
