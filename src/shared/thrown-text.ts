/** Returns in words what was thrown, whatever it is: code that is not ours may throw anything. It never throws itself. */
export function thrownText(thrown: unknown): string {
  if (thrown === undefined) return "undefined was thrown";
  if (typeof thrown === "string") return thrown;
  return tried(() => errorText(thrown)) ?? tried(() => otherText(thrown)) ?? "what was thrown cannot be read";
}

function errorText(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error)) return undefined;
  const name = tried(() => thrown.name) ?? "Error";
  const message = tried(() => thrown.message);
  if (message === undefined) return `${name}: its message cannot be read`;
  return name === "Error" ? message : `${name}: ${message}`;
}

function otherText(thrown: unknown): string | undefined {
  if (typeof thrown !== "object" || thrown === null) return String(thrown);
  const { message } = thrown as { message?: unknown };
  return typeof message === "string" ? message : JSON.stringify(thrown);
}

/** Returns a text that code which is not ours gives; undefined when it throws, or gives another thing. */
function tried(read: () => unknown): string | undefined {
  try {
    const text = read();
    return typeof text === "string" ? text : undefined;
  } catch {
    return undefined;
  }
}
