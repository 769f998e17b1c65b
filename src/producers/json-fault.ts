/** Deeper than anybody looks for a mistake. */
const MAX_DEPTH = 10;

/** Where and why a value that JSON refuses cannot be said in it: `user.id: Do not know how to serialize a BigInt`. */
export function jsonFault(value: unknown): string {
  const path: string[] = [];
  const above = [value];
  for (let at = value; path.length < MAX_DEPTH; above.push(at)) {
    const found = Object.entries(Object(at)).find(([, child]) => refusalOf(child) !== undefined);
    if (!found) break;
    const [name, child] = found;
    path.push(name);
    // A cycle: it is closed here.
    if (above.includes(child)) break;
    at = child;
  }
  return `${path.join(".") || "its top"}: ${refusalOf(value)}`;
}

function refusalOf(value: unknown): string | undefined {
  try {
    JSON.stringify(value);
    return undefined;
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  }
}
