import type { TestSite } from "./site.ts";

/** The simulator plays these turns for the prompt. */
export function script(about: string, ...turns: object[]): string {
  return `${about}\n#sim ${JSON.stringify({ turns })}`;
}

/** Assistant messages in the requests whose last user message begins so, in their order. */
export function turnsSeen(site: TestSite, about: string): number[] {
  const calls = site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(about));
  return calls.map(({ turn }) => turn);
}
