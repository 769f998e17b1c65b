import { Panel } from "../parts/basic.tsx";

/** Of an address that is no page, or one that the caller may not see. */
export function NotFoundPage() {
  return (
    <>
      <div class="head">
        <h1>There is no such page</h1>
      </div>
      <Panel>
        <div class="body">
          <p>
            Nothing that you may see is at <code>{location.pathname}</code>. The address may be old, or
            mistyped.
          </p>
          <p>
            <a href="/">Back to the overview</a>
          </p>
        </div>
      </Panel>
    </>
  );
}
