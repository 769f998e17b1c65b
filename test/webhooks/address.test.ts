import { expect, test } from "vitest";
import { loadSettings } from "../../src/shared/settings.ts";
import { allowedLookup, checkWebhookUrl, isAllowedAddress } from "../../src/webhooks/address.ts";

/** Each in several spellings; the name of the last one is looked up. */
const INSIDE = [
  ...[
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
  ],
  ...[
    "0.0.0.0",
    "0",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "0xc0a80101",
    "169.254.169.254",
  ],
  ...["169.254.0.1", "100.64.0.1", "100.127.255.255", "224.0.0.1", "239.255.255.250", "255.255.255.255"],
  ...["198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.0.0.8", "240.0.0.1", "192.88.99.1"],
  ...["[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::ffff:8.8.8.8]"],
  ...[
    "[64:ff9b::7f00:1]",
    "[64:ff9b::808:808]",
    "[64:ff9b:1::1]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
  ],
  ...[
    "[ff02::1]",
    "[2002:7f00:1::]",
    "[2001::1]",
    "[2001:db8::1]",
    "[::127.0.0.1]",
    "[fec0::1]",
    "[3fff::1]",
  ],
  ...["127.0.0.1.", "１２７.0.0.1", "localhost"],
];
const PUBLIC = ["8.8.8.8", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.167.255.255", "11.0.0.1"];
const PUBLIC_6 = ["2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2001:200::1"];

test.each(INSIDE)("%s is inside, and allowed by a setting alone", async (host) => {
  const url = `http://${host}/hook`;
  await expect(checkWebhookUrl(url, [])).rejects.toMatchObject({ code: "webhook_address" });
  expect((await checkWebhookUrl(url, "all")).protocol).toBe("http:");
});

test("public addresses are allowed", async () => {
  for (const address of [...PUBLIC, ...PUBLIC_6]) expect(isAllowedAddress(address, []), address).toBe(true);
  expect((await checkWebhookUrl(`https://${PUBLIC[0]}:8443/a?b=c`, [])).search).toBe("?b=c");
});

test("what is no address, or names an interface, is not allowed", () => {
  for (const address of ["", "host", "fe80::1%eth0", "2606:4700::1%lo", "8.8.8", "8.8.8.8 "])
    expect(isAllowedAddress(address, []), address).toBe(false);
});

test("ranges of the setting are allowed, and nothing beside them", () => {
  const allowed = ["10.0.0.0/8", "fd00::/8", "192.168.1.5"];
  const found = [
    "10.9.9.9",
    "::ffff:10.9.9.9",
    "fd00::5",
    "192.168.1.5",
    "192.168.1.6",
    "127.0.0.1",
    "fe80::1",
  ];
  expect(found.map((address) => isAllowedAddress(address, allowed))).toEqual([
    ...[true, true, true, true],
    ...[false, false, false],
  ]);
});

test.each([
  ["ftp://example.com/", "https"],
  ["file:///etc/passwd", "https"],
  ["gopher://example.com", "https"],
  ["javascript:alert(1)", "https"],
  ["https://user@example.com/", "user name"],
  ["https://user:secret@example.com/", "password"],
  ["https://example.com/#part", "fragment"],
  ["example.com/hook", "is none"],
  ["", "is none"],
  ["http://", "is none"],
  ["http://256.1.1.1/", "is none"],
  [`https://example.com/${"a".repeat(2000)}`, "is none"],
])("%s is no webhook's URL", async (url, why) => {
  const message = expect.stringContaining(why);
  await expect(checkWebhookUrl(url, "all")).rejects.toMatchObject({ code: "webhook_url", message });
});

test("a connection gets those addresses of its host that are allowed, and no other", async () => {
  const find = (allowed: readonly string[], all: boolean) =>
    new Promise<unknown>((resolve, reject) =>
      allowedLookup(allowed)("localhost", { all }, (error, address) =>
        error ? reject(error) : resolve(address),
      ),
    );
  await expect(find([], true)).rejects.toMatchObject({ code: "webhook_address" });
  expect(await find(["127.0.0.0/8"], true)).toEqual([{ address: "127.0.0.1", family: 4 }]);
  expect(await find(["127.0.0.0/8"], false)).toBe("127.0.0.1");
});

test("the setting is a word or ranges", () => {
  const read = (text: string) =>
    loadSettings({ env: { GLUELLM_WEBHOOK_ALLOW_PRIVATE: text }, cwd: "/" }).webhooks.allowPrivate;
  expect([read("true"), read("false"), read(""), read("10.0.0.0/8, ::1")]).toEqual([
    ...["all", [], []],
    ["10.0.0.0/8", "::1"],
  ]);
  for (const text of ["10.0.0.0/33", "10.0.0/8", "all", "true,10.0.0.0/8", "10.0.0.0/8/1"])
    expect(() => read(text), text).toThrow(/GLUELLM_WEBHOOK_ALLOW_PRIVATE.*ranges such as/);
});
