/** Returns the value of a JSON text; undefined for an empty one. @throws Error that says what is wrong with the text */
export function jsonOf(text: unknown): unknown {
  const given = String(text ?? "").trim();
  if (given === "") return undefined;
  try {
    return JSON.parse(given);
  } catch (error) {
    throw new Error(`that is no JSON: ${(error as Error).message}`);
  }
}
