const BYTES_PER_NUMBER = 4;

/** Base64 of little-endian 32-bit floats, as OpenAI packs embeddings. */
export function vectorToText(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * BYTES_PER_NUMBER);
  for (const [at, value] of vector.entries()) bytes.writeFloatLE(value, at * BYTES_PER_NUMBER);
  return bytes.toString("base64");
}

export function textToVector(text: string): number[] {
  const bytes = Buffer.from(text, "base64");
  const length = Math.floor(bytes.length / BYTES_PER_NUMBER);
  return Array.from({ length }, (_, at) => bytes.readFloatLE(at * BYTES_PER_NUMBER));
}
