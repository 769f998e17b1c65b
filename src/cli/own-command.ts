/** The start of a command to type: a program that only the project of this folder has is reached by npx. */
export function programName(script: string | undefined = process.argv[1]): string {
  return /[\\/]node_modules[\\/]\.bin[\\/]/.test(script ?? "") ? "npx gluellm" : "gluellm";
}

/** This process's command, to be given again in a shell. */
export function ownCommand(...added: readonly string[]): string {
  return [programName(), ...[...process.argv.slice(2), ...added].map(quoted)].join(" ");
}

/** Returns a word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
