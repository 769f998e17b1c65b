/** The start of a command to type: a program that only the project of this folder has is reached by npx. */
export function programName(script: string | undefined = process.argv[1]): string {
  return /[\\/]node_modules[\\/]\.bin[\\/]/.test(script ?? "") ? "npx gluellm" : "gluellm";
}

/** Returns a text with the commands in it as they are typed here. */
export function asTyped(text: string, script?: string): string {
  return text.replaceAll(/(?<!npx |[\w./@-])gluellm(?= [a-z-])/g, programName(script));
}

/** This process's command, to be given again in a shell. */
export function ownCommand(...added: readonly string[]): string {
  return [programName(), ...[...process.argv.slice(2), ...added].map(quoted)].join(" ");
}

/** Returns a word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
