import { lookup } from "node:dns/promises";
import { isIP, isIPv6, type LookupFunction } from "node:net";
import { InputError } from "../shared/errors.ts";
import { type AllowedRanges, blockListOf } from "../shared/webhook-ranges.ts";

/*
 * Where a webhook may be sent. Its URL is a stranger's, and this process stands inside: it must not be made to call what is here. The
 * address that is looked up is judged, and that one is connected to: a name that says something else a moment later changes nothing.
 */

/** What is not the public internet (the special-purpose registries of IANA). */
const PRIVATE_IPV4 = blockListOf([
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"],
  ...["192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"],
  ...["203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"],
]);
/** All else is loopback, local, multicast, or holds an IPv4 address (mapped, NAT64). */
const GLOBAL_IPV6 = blockListOf(["2000::/3"]);
/** Of it: protocols of the IETF with Teredo, documentation, and 6to4, which holds an IPv4 address too. */
const SPECIAL_IPV6 = blockListOf(["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]);

/** Returns whether a webhook may be sent to an IP address. */
export function isAllowedAddress(address: string, allowed: AllowedRanges): boolean {
  if (allowed === "all") return true;
  // A zone (`fe80::1%eth0`) names an interface of this machine.
  if (isIP(address) === 0 || address.includes("%")) return false;
  const family = isIPv6(address) ? "ipv6" : "ipv4";
  if (blockListOf(allowed).check(address, family)) return true;
  if (family === "ipv4") return !PRIVATE_IPV4.check(address, "ipv4");
  return GLOBAL_IPV6.check(address, "ipv6") && !SPECIAL_IPV6.check(address, "ipv6");
}

/** Returns the error of an address, or a host all of whose addresses are such, that a webhook may not be sent to. */
export function forbiddenAddress(host: string): InputError {
  return new InputError(
    `${host} is no public address`,
    "a receiver inside needs its range in GLUELLM_WEBHOOK_ALLOW_PRIVATE, such as 10.0.0.0/8",
    "webhook_address",
  );
}

/** Reads a webhook's URL. The host comes in one spelling: 127.0.0.1 also for `0x7f.1` and 2130706433. @throws InputError `webhook_url` */
export function readWebhookUrl(text: string): URL {
  const refuse = (why: string): never => {
    throw new InputError(`the webhook's URL ${why}`, "write https://host/path", "webhook_url");
  };
  if (text.length > 2000 || !URL.canParse(text)) return refuse("is none");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:")
    return refuse("must begin with https:// or http://");
  if (url.username !== "" || url.password !== "") return refuse("must have no user name and no password");
  if (url.hash !== "") return refuse("must have no #fragment");
  return url;
}

/** Returns the host's IP address when the URL has one; undefined for a name. */
export function literalAddress({ hostname }: URL): string | undefined {
  const address = hostname.replace(/^\[|\]$/g, "");
  return isIP(address) === 0 ? undefined : address;
}

/**
 * Returns what connections look their host up by: it gives those of its addresses that are allowed.
 * The error of a host that has none is an InputError `webhook_address`.
 */
export function allowedLookup(allowed: AllowedRanges): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true })
      .then((found) => {
        const addresses = found.filter(({ address }) => isAllowedAddress(address, allowed));
        const [first] = addresses;
        if (!first) throw forbiddenAddress(hostname);
        if (options.all) callback(null, addresses);
        else callback(null, first.address, first.family);
      })
      .catch((error: NodeJS.ErrnoException) => callback(error, "", 0));
  };
}

/**
 * Checks a URL once, so that who makes a webhook learns at once what can never be sent; a name that cannot be looked up now may be known
 * later. @throws InputError `webhook_url`, `webhook_address`
 */
export async function checkWebhookUrl(text: string, allowed: AllowedRanges): Promise<URL> {
  const url = readWebhookUrl(text);
  const literal = literalAddress(url);
  const addresses = literal
    ? [literal]
    : (await lookup(url.hostname, { all: true }).catch(() => [])).map(({ address }) => address);
  if (addresses.length > 0 && !addresses.some((address) => isAllowedAddress(address, allowed)))
    throw forbiddenAddress(url.hostname);
  return url;
}
