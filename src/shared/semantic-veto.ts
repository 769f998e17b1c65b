/*
 * What must be equal in two questions for the answer of one to do for the other, however near their vectors are: embeddings
 * hardly see numbers, negations, names, quotes, the order of words, or one word in the place of another.
 */

/** Why one question's answer is not given to another. */
export type Veto = "number" | "negation" | "quote" | "name" | "opposite" | "order" | "word" | "script";
export const VETOES: readonly Veto[] = [
  ...(["number", "negation", "quote", "name", "opposite", "order", "word", "script"] as const),
];

/** The content words by which two questions may differ and still be told apart by no vector. */
const MAX_NEAR_WORDS = 2;

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "));

/** In the languages that questions are asked in most with Latin letters. */
const NEGATIONS = words(
  "not no never none nobody nothing nowhere neither nor without cannot hardly barely rarely seldom except unless excluding avoid " +
    "nicht kein keine keinen keiner keinem nie niemals ohne weder noch pas jamais sans aucun aucune ni rien nunca sin ningún ninguna " +
    "nada jamás non mai senza nessuno nessuna não sem nenhum niet geen nooit zonder ikke inte",
);

const OPPOSITES = words(
  "before after more less most least fewer increase decrease increased decreased rise fall up down left right open close opened closed " +
    "start stop begin end enable disable enabled disabled on off in out with add remove install uninstall import export buy sell send receive " +
    "lock unlock encrypt decrypt compress decompress upload download push pull first last next previous above below over under inside outside " +
    "min max minimum maximum largest smallest highest lowest biggest best worst hot cold old new young early late fast slow high low long short " +
    "cheap expensive safe unsafe legal illegal true false yes allow deny allowed denied accept reject include exclude always win lose public " +
    "private inbound outbound ascending descending horizontal vertical north south east west male female husband wife mother father son daughter " +
    "brother sister hire fire lend borrow debit credit profit loss asset liability pass fail success failure positive negative must should " +
    "may and or but if from to into onto until since against for",
);

const NUMBER_WORDS = words(
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen " +
    "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen half third quarter once twice double triple " +
    "second fourth fifth sixth seventh eighth ninth tenth single both monday tuesday wednesday thursday friday saturday sunday january february " +
    "march april june july august september october november december today tomorrow yesterday",
);

/** Words that say nothing of what is asked. */
const FILLERS = words(
  "a an the is are was were be been being am do does did done have has had i me my we us our you your he she it its they them their this " +
    "that these those there here of at by as about what which who whom whose how when where why whats hows please just really actually tell " +
    "explain describe show give let know want need like help kindly could you hi hello hey thanks thank so then also way ways exactly s m re ve " +
    "ll d t of it's can could will would",
);

/** Capitals that begin a sentence are names, but for these. */
const OPENERS = words(
  "what which who whom whose how when where why is are was were be do does did have has had can could will would shall should may might must " +
    "please tell explain describe show give let write list name find make create compute calculate translate summarize summarise compare i i'm " +
    "i'd i'll i've my we our you your he she it its they their this that these those there here the a an in on at for from to of with without " +
    "if and or but not no yes hi hello hey thanks thank so then also about what's how's where's who's does don't can't isn't aren't won't",
);

interface Question {
  numbers: string[];
  negations: string[];
  quotes: string[];
  names: string[];
  opposites: string[];
  /** Content words, without their endings. */
  content: string[];
}

/** Returns why the answer to one question must not be given to the other; undefined when nothing speaks against it. */
export function vetoOf(one: string, other: string): Veto | undefined {
  if (!isReadable(one) || !isReadable(other)) return "script";
  const [a, b] = [read(one), read(other)];
  if (!areEqual(a.numbers, b.numbers)) return "number";
  if (!areEqual(a.negations, b.negations)) return "negation";
  if (!areEqual(a.quotes, b.quotes)) return "quote";
  if (!areEqual(a.names, b.names)) return "name";
  if (!areEqual(a.opposites, b.opposites)) return "opposite";
  const differing = differingWords(a.content, b.content);
  if (differing === 0 && !areEqual(a.content, b.content)) return "order";
  if (differing > 0 && differing <= MAX_NEAR_WORDS) return "word";
  return undefined;
}

/** Scripts without capitals show no names, and nobody has said what a negation is in them. */
function isReadable(text: string): boolean {
  return !/[\p{L}--\p{Script=Latin}]/v.test(text);
}

const QUOTED = /"([^"]+)"|“([^”]+)”|„([^“”]+)[“”]|«([^»]+)»|`([^`]+)`|(?<!\p{L})['‘]([^'’]+)['’](?!\p{L})/gu;
const TOKEN =
  /[$€£¥]?[-+]?\d[\d.,:/]*(?:\s?[%°]|\s?\p{L}+)?|[\p{L}\p{N}_@#](?:[\p{L}\p{N}_@#./+’'-]*[\p{L}\p{N}_+#])?/gu;

function read(given: string): Question {
  const question: Question = {
    numbers: [],
    negations: [],
    quotes: [],
    names: [],
    opposites: [],
    content: [],
  };
  const text = given.normalize("NFKC").replace(QUOTED, (_, ...parts: unknown[]) => {
    question.quotes.push(String(parts.slice(0, 6).find((part) => part !== undefined)).trim());
    return " , ";
  });
  let opens = true;
  let after = 0;
  for (const match of text.matchAll(TOKEN)) {
    const between = text.slice(after, match.index);
    opens = opens || /[.!?:\n]/.test(between);
    after = match.index + match[0].length;
    addToken(question, match[0], opens);
    opens = false;
  }
  return question;
}

function addToken(question: Question, token: string, opens: boolean): void {
  const word = token.toLowerCase().replaceAll("’", "'");
  if (/^[$€£¥]?[-+]?\d/.test(token)) {
    question.numbers.push(word.replace(/\s/g, "").replace(/[.,:]+$/, ""));
    return;
  }
  const isNegated =
    /n't$/.test(word) ||
    /^(?:dont|cant|wont|isnt|arent|doesnt|didnt|shouldnt|wouldnt|couldnt|wasnt|havent|hasnt)$/.test(word);
  if (isNegated || NEGATIONS.has(word)) {
    question.negations.push(isNegated || word === "cannot" ? "not" : word);
    return;
  }
  if (NUMBER_WORDS.has(word)) question.numbers.push(word);
  else if (isName(token, word, opens)) question.names.push(word.replace(/'s$/, ""));
  else if (OPPOSITES.has(word)) question.opposites.push(word);
  else if (!FILLERS.has(word)) question.content.push(stem(word));
}

/** Also file names, addresses, versions and the like, which have no capitals. */
function isName(token: string, word: string, opens: boolean): boolean {
  if (/[\d_@#/+.]/.test(token)) return true;
  if (!/\p{Lu}/u.test(token) || word === "i" || /^i'/.test(word)) return false;
  return !opens || /\p{Lu}.*\p{Lu}/u.test(token) || !OPENERS.has(word);
}

/** English endings, so that `resets` and `reset` are one word. */
function stem(word: string): string {
  const bare = word.replace(/'s$/, "");
  return bare.length > 5 ? bare.replace(/(?:ies|ing|ed|es|s)$/, "") : bare.replace(/(?<=\p{L}{3})s$/u, "");
}

function differingWords(a: readonly string[], b: readonly string[]): number {
  const rest = [...b];
  let missing = 0;
  for (const word of a) {
    const place = rest.indexOf(word);
    if (place < 0) missing += 1;
    else rest.splice(place, 1);
  }
  return missing + rest.length;
}

function areEqual(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
