import { ConfigurationError } from "./errors.ts";

/*
 * Imported first by the package: an older Node.js would fail somewhere below with what is no use to anybody. Deno and Bun
 * give the version of Node.js that they are like.
 */

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

if (major < 22 || (major === 22 && minor < 19)) {
  throw new ConfigurationError(
    `gluellm needs Node.js 22.19 or newer, and this is ${process.versions.node}`,
    "install Node.js 24 from https://nodejs.org",
    "node_version",
  );
}
