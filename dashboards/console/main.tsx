import { type ComponentType, render } from "preact";
import { useEffect } from "preact/hooks";
import { get } from "./api.ts";
import { clock } from "./format.ts";
import { HELP, isHelpOpen, listenToKeys } from "./keys.ts";
import { lastAnswer } from "./live.ts";
import { followChanges } from "./live-stream.ts";
import { AccessPage } from "./pages/access.tsx";
import { AuditPage } from "./pages/audit.tsx";
import { BatchesPage, BatchPage } from "./pages/batches.tsx";
import { ConversationPage, ConversationsPage } from "./pages/conversations.tsx";
import { DeadLetterPage, DeadLettersPage } from "./pages/dead-letters.tsx";
import { ErrorsPage } from "./pages/errors.tsx";
import { JobPage } from "./pages/job.tsx";
import { JobsPage } from "./pages/jobs.tsx";
import { LimitPage, LimitsPage } from "./pages/limits.tsx";
import { NotFoundPage } from "./pages/not-found.tsx";
import { OverviewPage } from "./pages/overview.tsx";
import { PlaygroundPage } from "./pages/playground.tsx";
import { RunPage } from "./pages/run.tsx";
import { RunsPage } from "./pages/runs.tsx";
import { SchedulePage, SchedulesPage } from "./pages/schedules.tsx";
import { SpendPage } from "./pages/spend.tsx";
import { TenantsPage } from "./pages/tenants.tsx";
import { WorkersPage } from "./pages/workers.tsx";
import { Fault } from "./parts/basic.tsx";
import { Dialog } from "./parts/dialog.tsx";
import { Notice } from "./parts/notice.tsx";
import { followLinks, place } from "./router.ts";
import { may, type Scope, type Session, session } from "./session.ts";

interface PageEntry {
  /** The first part of the path. */
  path: string;
  name: string;
  list: ComponentType;
  /** Of one thing: what the second part of the path names. */
  one?: ComponentType<{ id: string }>;
  /** Without it the page is not there. */
  scope?: Scope | readonly Scope[];
}

/** The pages, in the order of the navigation. */
const PAGES: readonly PageEntry[] = [
  { path: "", name: "Overview", list: OverviewPage },
  { path: "runs", name: "Runs", list: RunsPage, one: RunPage },
  { path: "jobs", name: "Jobs", list: JobsPage, one: JobPage },
  { path: "batches", name: "Batches", list: BatchesPage, one: BatchPage },
  {
    ...{ path: "conversations", name: "Conversations", scope: "content" },
    ...{ list: ConversationsPage, one: ConversationPage },
  },
  { path: "schedules", name: "Schedules", list: SchedulesPage, one: SchedulePage },
  { path: "workers", name: "Workers", list: WorkersPage },
  { path: "limits", name: "Limits", list: LimitsPage, one: LimitPage },
  { path: "errors", name: "Errors", list: ErrorsPage },
  { path: "dead-letters", name: "Dead letters", list: DeadLettersPage, one: DeadLetterPage },
  { path: "spend", name: "Spend", list: SpendPage },
  { path: "tenants", name: "Tenants", list: TenantsPage },
  { path: "access", name: "Access", list: AccessPage, scope: "admin" },
  { path: "audit", name: "Audit", list: AuditPage, scope: "admin" },
  { path: "playground", name: "Playground", list: PlaygroundPage, scope: ["complete", "workflow"] },
];

function isOpen({ scope }: PageEntry): boolean {
  return scope === undefined || [scope].flat().some(may);
}

function App() {
  const { parts } = place.value;
  const [first = "", id, ...more] = parts;
  const page = PAGES.find((entry) => entry.path === first && isOpen(entry) && more.length === 0);
  const One = id === undefined ? undefined : page?.one;
  const List = id === undefined ? page?.list : undefined;
  const title = One || List ? (id ?? page?.name) : "Not found";
  useEffect(() => {
    document.title = `${title} · GlueLLM`;
  }, [title]);
  const { error, at } = lastAnswer.value;
  return (
    <div class="frame">
      <a class="skip" href="#main">
        Skip to the page
      </a>
      <nav class="nav" aria-label="Pages">
        <a class="brand" href="/">
          GlueLLM
        </a>
        <div class="space">{document.documentElement.dataset.namespace}</div>
        {PAGES.filter(isOpen).map(({ path, name }) => (
          <a key={path} href={`/${path}`} aria-current={path === first ? "page" : undefined}>
            {name}
          </a>
        ))}
        <div class="end">
          <a href="/queues">Bull Board</a>
          <button type="button" onClick={() => (isHelpOpen.value = true)}>
            Keys <kbd>?</kbd>
          </button>
        </div>
      </nav>
      <main id="main" tabIndex={-1}>
        {error && (
          <p class="stale" role="status">
            {error}; what is shown is of {at ? clock(at) : "nothing yet"}.
          </p>
        )}
        {One && id !== undefined && <One key={id} id={id} />}
        {List && <List />}
        {!One && !List && <NotFoundPage />}
      </main>
      <Notice />
      {isHelpOpen.value && <Help />}
    </div>
  );
}

function Help() {
  return (
    <Dialog title="Keys" onClose={() => (isHelpOpen.value = false)}>
      <dl class="facts">
        {HELP.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog" class="buttons">
        <button type="submit">Close</button>
      </form>
    </Dialog>
  );
}

const root = document.getElementById("app") as HTMLElement;
root.replaceChildren();
try {
  session.value = await get<Session>("/session");
  followChanges();
  listenToKeys();
  followLinks((path) => PAGES.some((page) => page.path === path.split("/")[1]));
  render(<App />, root);
} catch (error) {
  render(<Fault error={error as Error} />, root);
}
