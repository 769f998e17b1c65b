import { expect, test } from "vitest";
import { asTyped, programName } from "../../src/cli/own-command.ts";

test.each([
  ["/home/ada/hello/node_modules/.bin/gluellm", "npx gluellm"],
  ["C:\\hello\\node_modules\\.bin\\gluellm", "npx gluellm"],
  ["/usr/local/bin/gluellm", "gluellm"],
  ["/home/ada/checkout/bin/gluellm.js", "gluellm"],
])("%s is typed as %s", (script, typed) => {
  expect(programName(script)).toBe(typed);
});

test.each([
  [
    "start one with gluellm worker, or gluellm batch run",
    "start one with npx gluellm worker, or npx gluellm batch run",
  ],
  ["npx gluellm --help has all", "npx gluellm --help has all"],
  ["set GLUELLM_REDIS_URL; it lies in /srv/gluellm data and npm i gluellm", undefined],
])("commands in a hint are those that the folder's own program takes: %s", (hint, typed = hint) => {
  expect(asTyped(hint, "/home/ada/hello/node_modules/.bin/gluellm")).toBe(typed);
  expect(asTyped(hint, "/usr/local/bin/gluellm")).toBe(hint);
});
