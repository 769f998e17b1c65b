import { useState } from "preact/hooks";
import type { Tenant, TenantSettings } from "../access-types.ts";
import { patch } from "../api.ts";
import { count, counted, percent, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Loaded, Meter, Panel } from "../parts/basic.tsx";
import { Action } from "../parts/dialog.tsx";
import { filterOf, TextFilter } from "../parts/filters.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { seesTenants, session } from "../session.ts";

type Setting = readonly [keyof TenantSettings, string, (value: number) => string, string];

const days = (value: number) => `${count(value)} days`;
/** The settings, what each is, how its value is shown, and what holds without one. */
const SETTINGS = [
  ["weight", "Weight", count, "1"],
  ["rpm", "Calls a minute", count, "no limit"],
  ["tpm", "Tokens a minute", count, "no limit"],
  ["maxInFlight", "Calls at a time", count, "no limit"],
  ["maxQueuedJobs", "Jobs that wait or run", count, "no limit"],
  ["maxCostUsdPerDay", "USD a day", usd, "no limit"],
  ["maxCostUsdPerMonth", "USD a month", usd, "no limit"],
  ["resultDays", "Days of results", days, "as for all"],
  ["failedDays", "Days of failed jobs", days, "as for all"],
  ["conversationDays", "Days of conversations", days, "as for all"],
  ["runDays", "Days of ended runs", days, "as for all"],
  ["historyDays", "Days of the history", days, "as for all"],
  ["historyContentDays", "Days of contents in the history", days, "as for all"],
  ["historyMaxRows", "Rows in each table of the history", count, "no limit"],
] as const satisfies readonly Setting[];

const COLUMNS: readonly Column<Tenant>[] = [
  {
    label: "Tenant",
    cell: ({ tenant, isDamaged }) => (
      <>
        {tenant} {isDamaged && <Badge state="damaged" tone="bad" />}
      </>
    ),
  },
  {
    label: "Open jobs",
    cell: ({ tenant, openJobs, settings }) => (
      <Use of={openJobs} most={settings.maxQueuedJobs} label={`open jobs of ${tenant}`} text={count} />
    ),
  },
  { label: "Rows waiting", isNumber: true, cell: ({ waitingRows }) => count(waitingRows) },
  {
    label: "Today",
    cell: ({ tenant, spentUsdToday, settings }) => (
      <Use of={spentUsdToday} most={settings.maxCostUsdPerDay} label={`USD of ${tenant} today`} text={usd} />
    ),
  },
  {
    label: "This month",
    isNumber: true,
    isWide: true,
    cell: ({ spentUsdThisMonth, settings }) =>
      spentUsdThisMonth === null
        ? "–"
        : `${usd(spentUsdThisMonth)} of ${usd(settings.maxCostUsdPerMonth ?? 0)}`,
  },
  { label: "Failed", isNumber: true, cell: ({ ended, failed }) => `${count(failed)} of ${count(ended)}` },
  { label: "Limits", isWide: true, grows: true, cell: ({ settings }) => rates(settings) },
  { label: "Act", cell: (tenant) => <Change tenant={tenant} /> },
];

/** How much of a limit is used; without a limit the number alone. */
function Use({
  of,
  most,
  label,
  text,
}: {
  of: number | null;
  most: number | undefined;
  label: string;
  text: (value: number) => string;
}) {
  if (of === null) return <span class="muted">–</span>;
  if (most === undefined) return <>{text(of)}</>;
  return (
    <Meter part={of} whole={most} label={label}>
      {text(of)} of {text(most)}
    </Meter>
  );
}

function rates({ weight, rpm, tpm, maxInFlight }: TenantSettings): string {
  return [
    weight !== undefined && `weight ${count(weight)}`,
    rpm !== undefined && `${counted(rpm, "call")} a minute`,
    tpm !== undefined && `${count(tpm)} tokens a minute`,
    maxInFlight !== undefined && `${counted(maxInFlight, "call")} at a time`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** Those who share the fleet: their parts, limits, and what they use of them. */
export function TenantsPage() {
  const tenants = useLive<{ data: Tenant[] }>("/api/tenants", 5000, { ticks: true });
  const wanted = filterOf("text")?.toLowerCase() ?? "";
  return (
    <>
      <div class="head">
        <h1>Tenants</h1>
        <div class="side">
          <span class="muted">failed in the last 24 hours; money by UTC, where it has a limit</span>
          {seesTenants() && <Change />}
        </div>
      </div>
      <div class="filters">
        <TextFilter name="text" label="Tenant" placeholder="part of its name" />
      </div>
      <Panel>
        <Loaded live={tenants}>
          {({ data }) => (
            <Table
              label="Tenants"
              columns={COLUMNS}
              rows={data.filter(({ tenant }) => tenant.toLowerCase().includes(wanted))}
              keyOf={({ tenant }) => tenant}
              isFailed={({ isDamaged }) => isDamaged}
              empty={wanted ? "None fits." : `${session.value?.tenant ?? "Nobody"} has done nothing yet.`}
            />
          )}
        </Loaded>
      </Panel>
    </>
  );
}

/** Sets a tenant's part, limits and retention, or those of a new one. */
function Change({ tenant }: { tenant?: Tenant }) {
  if (!seesTenants()) return null;
  return (
    <Action
      label={tenant ? "Set" : "Add a tenant"}
      confirm="Set"
      explain={
        <p>
          {tenant ? (
            <>Part, limits and retention of {tenant.tenant}. </>
          ) : (
            "A tenant exists without this; here it gets limits. "
          )}
          They hold for its next calls. An empty field is no limit, or as for all; the usual weight is 1.
        </p>
      }
      fields={<Fields tenant={tenant} />}
      act={async (form) => {
        const name = tenant?.tenant ?? String(form.get("tenant")).trim();
        const after = settingsOf(form);
        const change = Object.fromEntries(SETTINGS.map(([setting]) => [setting, after[setting] ?? null]));
        await patch(`/api/tenants/${encodeURIComponent(name)}`, change);
        return `${name} is set.`;
      }}
    />
  );
}

/** The settings, and what will be with what is typed. */
function Fields({ tenant }: { tenant: Tenant | undefined }) {
  const before = tenant?.settings ?? {};
  const [after, setAfter] = useState(before);
  return (
    <div
      class="form"
      onInput={(event) => {
        const form = (event.target as HTMLElement).closest("form");
        if (form) setAfter(settingsOf(new FormData(form)));
      }}
    >
      {!tenant && (
        <label>
          Tenant
          <input name="tenant" required pattern="[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}" />
        </label>
      )}
      {SETTINGS.map(([name, label]) => (
        <label key={name}>
          {label}
          <input name={name} type="number" step="any" min="0" defaultValue={String(before[name] ?? "")} />
        </label>
      ))}
      <Preview before={before} after={after} isDamaged={tenant?.isDamaged ?? false} />
    </div>
  );
}

function settingsOf(form: FormData): TenantSettings {
  const given = SETTINGS.map(([name]) => [name, String(form.get(name) ?? "").trim()] as const);
  return Object.fromEntries(
    given.filter(([, text]) => text !== "").map(([name, text]) => [name, Number(text)]),
  );
}

/** What will be different. */
function Preview({
  before,
  after,
  isDamaged,
}: {
  before: TenantSettings;
  after: TenantSettings;
  isDamaged: boolean;
}) {
  const changes = SETTINGS.filter(([name]) => before[name] !== after[name]).map(
    ([name, label, text, without]) => {
      const shown = (value: number | undefined) => (value === undefined ? without : text(value));
      return `${label}: ${shown(before[name])} → ${shown(after[name])}`;
    },
  );
  const weight = after.weight ?? 1;
  return (
    <section aria-live="polite" aria-label="What will be">
      {isDamaged && <p>What is stored is damaged: all of it is written anew.</p>}
      <p>{changes.length === 0 ? "Nothing changes." : changes.join("; ")}</p>
      <p class="muted">
        Beside one other tenant of weight 1 it has {percent(weight, weight + 1)} of a queue in which both
        wait.
      </p>
    </section>
  );
}
