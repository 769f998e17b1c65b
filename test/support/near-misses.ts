/** Two questions that are near each other, of which one's answer is wrong for the other; and what tells them apart. */
export interface NearMiss {
  veto: string;
  one: string;
  other: string;
}

const swap = (veto: string, frame: string, pairs: readonly (readonly [string, string])[]): NearMiss[] =>
  pairs.map(([a, b]) => ({ veto, one: frame.replace("_", a), other: frame.replace("_", b) }));

const NUMBERS = [
  ...([
    ["3", "4"],
    ["10", "100"],
    ["1.5", "15"],
    ["2019", "2020"],
    ["7", "seven hundred"],
    ["two", "three"],
  ] as const),
  ...([
    ["20 %", "25 %"],
    ["$5", "€5"],
    ["5 kg", "5 mg"],
    ["-4", "4"],
    ["Monday", "Tuesday"],
    ["the first", "the second"],
  ] as const),
] as const;
const NUMBER_FRAMES = [
  "How many calories do _ apples have?",
  "What changed in version _ of the product?",
  "Convert _ into the usual unit for me.",
  "What does the contract say about a delay of _ days?",
  "Is a dose of _ safe for an adult?",
  "What was the weather like on _ in the valley?",
  "Remind me of the meeting at _ with the board.",
  "What is the tax for _ employees?",
];
const NEGATION_FRAMES: readonly (readonly [string, string])[] = [
  ["Which foods should I eat with this medicine?", "Which foods should I not eat with this medicine?"],
  ["Why does the pump start in the morning?", "Why doesn't the pump start in the morning?"],
  ["Can the deposit be refunded?", "Can the deposit never be refunded?"],
  ["Which rooms have a window?", "Which rooms have no window?"],
  ["How do I cook rice with salt?", "How do I cook rice without salt?"],
  ["Who may enter the lab?", "Who may not enter the lab?"],
  ["List the members who paid their fee.", "List the members who haven't paid their fee."],
  ["Is it true that bees sleep?", "Isn't it true that bees sleep?"],
  ["What happens when the alarm rings?", "What happens when the alarm never rings?"],
  ["Was darf ich mit Fieber essen?", "Was darf ich mit Fieber nicht essen?"],
  ["Qui peut entrer dans le parc?", "Qui ne peut pas entrer dans le parc?"],
  ["¿Quién puede entrar al parque?", "¿Quién nunca puede entrar al parque?"],
];
const SUBJECTS = [
  "the lift",
  "the invoice",
  "my account",
  "the licence",
  "this recipe",
  "the garden hose",
  "our router",
  "the ticket",
];
const NEGATED = [
  "How do I use _ when it rains?",
  "What happens when _ works?",
  "Tell me why _ is ready.",
  "Does _ need a permit?",
];
const QUOTES = [
  ...([
    ["open the door", "close the door"],
    ["yes", "no"],
    ["Hello", "Goodbye"],
    ["error 404", "error 500"],
  ] as const),
  ...([
    ["SELECT 1", "DROP TABLE"],
    ["je suis", "tu es"],
    ["cat", "dog"],
  ] as const),
];
const QUOTE_FRAMES = [
  'What does "_" mean?',
  "Translate “_” into Latin.",
  "How is `_` pronounced?",
  "Who said '_' in the play?",
  'Does the log say "_"?',
];
const NAMES = [
  ...([
    ["Paris", "Rome"],
    ["Anna", "Bertha"],
    ["Python", "Ruby"],
    ["Mars", "Venus"],
    ["Beethoven", "Mozart"],
  ] as const),
  ...([
    ["iPhone", "iPad"],
    ["USA", "UK"],
    ["AES", "RSA"],
    ["config.json", "config.yaml"],
    ["node_a", "node_b"],
  ] as const),
  ...([
    ["Lake Como", "Lake Garda"],
    ["Dr. Brown", "Dr. Green"],
  ] as const),
];
const NAME_FRAMES = [
  "What is _ known for?",
  "How old is _ today?",
  "Tell me the history of _ in short.",
  "Which one is better for beginners, and why is it _?",
  "Where can I read about _ at night?",
  "_ is what I ask about: how big is it?",
  "Write a poem on _ and the sea.",
  "Is there a picture of _ in the museum?",
];
const OPPOSITES: readonly (readonly [string, string])[] = [
  ...([
    ["before", "after"],
    ["more", "less"],
    ["largest", "smallest"],
    ["open", "close"],
    ["enable", "disable"],
  ] as const),
  ...([
    ["import", "export"],
    ["buy", "sell"],
    ["left", "right"],
    ["increase", "decrease"],
    ["public", "private"],
  ] as const),
  ...([
    ["encrypt", "decrypt"],
    ["north", "south"],
    ["hot", "cold"],
    ["upload", "download"],
    ["first", "last"],
  ] as const),
];
const OPPOSITE_FRAMES = [
  "Which steps come _ in the handbook?",
  "Describe the _ case for the shop.",
  "What about the _ one in the list?",
  "Is _ the default here?",
];
const REVERSED: readonly (readonly [string, string])[] = [
  ["Does a cat chase a mouse?", "Does a mouse chase a cat?"],
  ["Convert euros to dollars.", "Convert dollars to euros."],
  ["Is a tomato heavier than a melon?", "Is a melon heavier than a tomato?"],
  ["How far is it from Bonn to Cologne?", "How far is it from Cologne to Bonn?"],
  ["Who taught Plato, and did Socrates?", "Who taught Socrates, and did Plato?"],
  ["Translate Danish words as Finnish.", "Translate Finnish words as Danish."],
  ["Can a manager fire a director?", "Can a director fire a manager?"],
  ["Does rain cause clouds?", "Does cloud cause rains?"],
  ["Does the lender owe the borrower?", "Does the borrower owe the lender?"],
  ["Is bread made of flour?", "Is flour made of bread?"],
  ["Does the moon light the lamp?", "Does the lamp light the moon?"],
  ["Should a nurse call a doctor?", "Should a doctor call a nurse?"],
  ["Is silver harder than gold?", "Is gold harder than silver?"],
  ["Can plants eat insects?", "Can insects eat plants?"],
];
const WORDS: readonly (readonly [string, string])[] = [
  ...([
    ["rice", "pasta"],
    ["children", "adults"],
    ["france", "spain"],
    ["dog", "cat"],
    ["kidney", "liver"],
  ] as const),
  ...([
    ["coffee", "tea"],
    ["guitar", "violin"],
    ["winter", "summer"],
    ["password", "username"],
    ["stocks", "bonds"],
  ] as const),
  ...([
    ["bicycle", "motorcycle"],
    ["email", "letter"],
    ["wood", "steel"],
    ["river", "ocean"],
    ["chess", "checkers"],
  ] as const),
];
const WORD_FRAMES = [
  "what is good about _ for the whole family",
  "How do I store _ for a long trip?",
  "What are the dangers of _ at home?",
  "Where do people learn about _ best?",
  "Explain _ as a teacher would.",
  "Which book on _ is short?",
  "Why is _ popular in old stories?",
  "capital questions about _ please",
  "Draw a plan that shows _ from the side.",
  "who invented _ and in which country was that",
];
const ADDED: readonly (readonly [string, string])[] = [
  ["How do I reset my password?", "How do I reset my router password?"],
  ["What is the price of a ticket?", "What is the price of a return ticket?"],
  ["How long does a battery last?", "How long does a spare battery last?"],
  ["Is the pool heated?", "Is the outdoor pool heated?"],
  ["Can I deduct rent?", "Can I deduct garage rent?"],
];
const SCRIPTS: readonly (readonly [string, string])[] = [
  ["法国的首都是哪里？", "西班牙的首都是哪里？"],
  ["Какая столица у Франции?", "Какая столица у Испании?"],
  ["フランスの首都はどこですか", "スペインの首都はどこですか"],
];

const pairs = (veto: string, list: readonly (readonly [string, string])[]): NearMiss[] =>
  list.map(([one, other]) => ({ veto, one, other }));

/** More than 500 of them. */
export const NEAR_MISSES: readonly NearMiss[] = [
  ...NUMBER_FRAMES.flatMap((frame) => swap("number", frame, NUMBERS)),
  ...pairs("negation", NEGATION_FRAMES),
  ...NEGATED.flatMap((frame) =>
    SUBJECTS.map((subject) => {
      const one = frame.replace("_", subject);
      return { veto: "negation", one, other: one.replace(/(\p{P})$/u, ", or never$1") };
    }),
  ),
  ...QUOTE_FRAMES.flatMap((frame) => swap("quote", frame, QUOTES)),
  ...NAME_FRAMES.flatMap((frame) => swap("name", frame, NAMES)),
  ...OPPOSITE_FRAMES.flatMap((frame) => swap("opposite", frame, OPPOSITES)),
  ...pairs("order", REVERSED),
  ...WORD_FRAMES.flatMap((frame) => swap("word", frame, WORDS)),
  ...pairs("word", ADDED),
  ...pairs("script", SCRIPTS),
];

/** Two ways to ask the same. */
export const PARAPHRASES: readonly (readonly [string, string])[] = [
  ["How do I reset my password?", "How can I reset my password?"],
  ["What is the capital of France?", "Tell me what the capital of France is."],
  ["How many planets are there?", "Hello, please tell me how many planets there are"],
  ["What does the error mean?", "Could you explain what the error means?"],
  ["Show me the opening hours of the museum.", "What are the opening hours of the museum?"],
  ["Why is the sky blue?", "why is the sky blue"],
];
