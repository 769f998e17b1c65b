import { z } from "zod";
import { ROLES, type Role } from "./scopes.ts";
import { blockListOf, isRange } from "./webhook-ranges.ts";

/*
 * Single sign-on: a proxy that knows who somebody is says so in a header. Settings, the addresses from which such a header counts,
 * and the names of users.
 */

/** Sets of addresses under the names that express has for them. */
const ADDRESS_SETS: Readonly<Record<string, readonly string[]>> = {
  loopback: ["127.0.0.0/8", "::1"],
  linklocal: ["169.254.0.0/16", "fe80::/10"],
  uniquelocal: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
};

const list = z.string().transform((text) =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean),
);

/** IP addresses, subnets, and express's names of some, separated by commas. */
export const addresses = list.refine(
  (items) => items.every((item) => Object.hasOwn(ADDRESS_SETS, item) || isRange(item)),
  "must be IP addresses, subnets such as 10.0.0.0/8, or loopback",
);

/** Headers that mean something else. */
const TAKEN =
  /^(host|cookie|authorization|origin|connection|content-.*|sec-.*|x-csrf-token|x-forwarded-for)$/;

const headerName = z
  .string()
  .regex(/^[\w!#$%&'*+.^`|~-]{1,100}$/, "must be a header's name, such as X-Forwarded-User")
  .transform((name) => name.toLowerCase())
  .refine((name) => !TAKEN.test(name), "is a header that means something else");

/** The variables, without their prefix. */
export const ssoVariables = {
  SSO_USER_HEADER: headerName.optional(),
  SSO_PROXIES: addresses.default([]),
  SSO_DEFAULT_ROLE: z.enum(Object.keys(ROLES) as [Role, ...Role[]]).optional(),
};

/** How single sign-on is set up. */
export interface SsoRules {
  /** In lower case, as Node has headers. */
  userHeader: string;
  /** Addresses, subnets and names of sets from which the header counts. */
  proxies: readonly string[];
  /** Of users who have no role of their own; absent: they do not get in. */
  defaultRole: Role | undefined;
}

export interface SsoValues {
  SSO_USER_HEADER?: string | undefined;
  SSO_PROXIES: readonly string[];
  SSO_DEFAULT_ROLE?: Role | undefined;
}

/** Returns what is wrong with settings that are right each for itself. */
export function ssoFaults({ SSO_USER_HEADER, SSO_PROXIES, SSO_DEFAULT_ROLE }: SsoValues): string[] {
  if (SSO_USER_HEADER !== undefined && SSO_PROXIES.length === 0)
    return ["GLUELLM_SSO_USER_HEADER: needs GLUELLM_SSO_PROXIES, or everybody could send the header"];
  if (SSO_USER_HEADER === undefined && (SSO_PROXIES.length > 0 || SSO_DEFAULT_ROLE !== undefined))
    return [
      `GLUELLM_${SSO_PROXIES.length > 0 ? "SSO_PROXIES" : "SSO_DEFAULT_ROLE"}: needs GLUELLM_SSO_USER_HEADER`,
    ];
  return [];
}

/** Returns the rules; undefined when there is no single sign-on. */
export function ssoRules(values: SsoValues): SsoRules | undefined {
  const { SSO_USER_HEADER: userHeader, SSO_PROXIES: proxies, SSO_DEFAULT_ROLE: defaultRole } = values;
  return userHeader === undefined ? undefined : { userHeader, proxies, defaultRole };
}

/** Returns what tells whether a connection's address is one of these. */
export function peersOf(proxies: readonly string[]): (address: string | undefined) => boolean {
  const listed = blockListOf(proxies.flatMap((item) => ADDRESS_SETS[item] ?? item));
  return (address = "") => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
    return plain !== "" && listed.check(plain, plain.includes(":") ? "ipv6" : "ipv4");
  };
}

/** A user's name as it is compared: in lower case; visible ASCII without commas, which would be two headers in one. */
export const userNameSchema = z
  .string()
  .trim()
  .toLowerCase()
  .regex(/^[!-+\--~]{1,200}$/, "must be 1 to 200 visible ASCII characters without spaces and commas");
