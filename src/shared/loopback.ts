import { BlockList, isIPv6 } from "node:net";

const addresses = new BlockList();
addresses.addSubnet("127.0.0.0", 8, "ipv4");
addresses.addAddress("::1", "ipv6");

/** Returns whether a host is this machine alone: `localhost`, 127.0.0.0/8, or ::1. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || addresses.check(host, isIPv6(host) ? "ipv6" : "ipv4");
}
