import { expect, test } from "vitest";
import { programName } from "../../src/cli/own-command.ts";

test.each([
  ["/home/ada/hello/node_modules/.bin/gluellm", "npx gluellm"],
  ["C:\\hello\\node_modules\\.bin\\gluellm", "npx gluellm"],
  ["/usr/local/bin/gluellm", "gluellm"],
  ["/home/ada/checkout/bin/gluellm.js", "gluellm"],
])("%s is typed as %s", (script, typed) => {
  expect(programName(script)).toBe(typed);
});
