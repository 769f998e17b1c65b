import { BlockList, isIP } from "node:net";

/** The ranges of addresses that webhooks may be sent to beside public ones: `10.0.0.0/8`, or all. */
export type AllowedRanges = readonly string[] | "all";

/** Returns a range's parts; undefined for what is none. A single address is a range of one. */
function readRange(text: string): { address: string; bits: number; family: "ipv4" | "ipv6" } | undefined {
  const [address = "", bits, ...rest] = text.split("/");
  const version = isIP(address);
  const most = version === 4 ? 32 : 128;
  if (version === 0 || rest.length > 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return undefined;
  const count = bits === undefined ? most : Number(bits);
  return count > most ? undefined : { address, bits: count, family: version === 4 ? "ipv4" : "ipv6" };
}

export function isRange(text: string): boolean {
  return readRange(text) !== undefined;
}

/** Returns a list that has these ranges. */
export function blockListOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of ranges) {
    const range = readRange(text);
    if (range) list.addSubnet(range.address, range.bits, range.family);
  }
  return list;
}
