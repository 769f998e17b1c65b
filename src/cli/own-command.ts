/** This process's command, to be given again in a shell. */
export function ownCommand(...added: readonly string[]): string {
  return ["gluellm", ...process.argv.slice(2), ...added].map(quoted).join(" ");
}

/** Returns a word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
