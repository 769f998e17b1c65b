import { createHash, randomBytes } from "node:crypto";

/** Returns a new id: the prefix and a UUID of version 7, so that ids sort by the time at which they were made. */
export function objectId(prefix: string): string {
  return `${prefix}${uuidV7(Date.now(), randomBytes(16))}`;
}

/** Returns the id of what has that name and belongs to that time, in epoch milliseconds: always the same one. */
export function objectIdOf(prefix: string, name: string, time: number): string {
  return `${prefix}${uuidV7(time, createHash("sha256").update(name).digest().subarray(0, 16))}`;
}

/** @param bytes 16 of them, which it takes */
function uuidV7(time: number, bytes: Buffer): string {
  bytes.writeUIntBE(time, 0, 6);
  bytes[6] = (bytes.readUInt8(6) & 0x0f) | 0x70;
  bytes[8] = (bytes.readUInt8(8) & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
