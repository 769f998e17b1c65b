import { type Principal, roleOf } from "../src/shared/principal.ts";

/** What the login says. */
export interface PageState {
  /** Why the last try failed. */
  fault?: string;
  /** Who is logged in. */
  principal?: Principal | undefined;
  csrfToken?: string | undefined;
}

interface PageOptions extends PageState {
  /** Where the browser goes afterwards; a path of this server. */
  next: string;
  hasPassword: boolean;
}

const STYLE = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText; }
  main { width: min(26rem, calc(100vw - 3rem)); }
  h1 { font-size: 1.4rem; margin: 0 0 1rem; }
  label { display: block; font-weight: 600; }
  input { box-sizing: border-box; width: 100%; font: inherit; padding: .5rem .6rem; margin: .3rem 0 1rem; }
  button { font: inherit; padding: .5rem 1.2rem; cursor: pointer; }
  small { opacity: .8; }
  [role="alert"] { border-left: 4px solid light-dark(#b3261e, #ff8a80); padding-left: .7rem; }
  code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .9em; }
`;

/** Returns the page of the login; for who is logged in, that of the logout. It has no script. */
export function loginPage({ principal, csrfToken, ...options }: PageOptions): string {
  const body = principal && csrfToken ? logoutForm(principal, csrfToken, options.next) : loginForm(options);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<title>GlueLLM login</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>GlueLLM</h1>
${body}
</main>
</body>
</html>
`;
}

function loginForm({ fault, next, hasPassword }: Omit<PageOptions, "principal" | "csrfToken">): string {
  const label = hasPassword ? "API key or password" : "API key";
  const link = hasPassword
    ? ""
    : ", or open the link that <code>gluellm dashboard</code>, <code>up</code> or <code>quickstart</code> prints";
  return `${fault === undefined ? "" : `<p role="alert" id="fault">${escaped(`${fault}.`)}</p>`}
<form method="post" action="/login">
<label for="key">${label}</label>
<input id="key" name="key" type="password" required autofocus autocomplete="current-password" spellcheck="false" maxlength="1000" aria-describedby="${fault === undefined ? "help" : "fault help"}"${fault === undefined ? "" : ' aria-invalid="true"'}>
<input type="hidden" name="next" value="${escaped(next)}">
<button type="submit">Log in</button>
</form>
<p id="help"><small><code>gluellm keys create --role viewer</code> makes a key${link}.</small></p>`;
}

function logoutForm(principal: Principal, csrfToken: string, next: string): string {
  const role = roleOf(principal);
  const who =
    principal.user !== undefined
      ? `as <code>${escaped(principal.user)}</code>`
      : principal.keyId === undefined
        ? "without a key"
        : `with the key <code>${escaped(principal.keyId)}</code>`;
  return `<p>You are logged in ${who}${role === undefined ? "" : `, as ${role}`}.</p>
<form method="post" action="/logout">
<input type="hidden" name="csrf" value="${escaped(csrfToken)}">
<p><a href="${escaped(next)}">Go on</a></p>
<button type="submit">Log out</button>
</form>`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
}
