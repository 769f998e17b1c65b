import { useState } from "preact/hooks";
import { get, withQuery } from "../api.ts";
import { clock, count, counted } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Empty, Fault, Loaded, Panel } from "../parts/basic.tsx";
import { ChoiceFilter, filterOf, TextFilter } from "../parts/filters.tsx";
import { Pager } from "../parts/pager.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { ActPage, AuditedAct, AuditReport } from "../report-types.ts";

const DAY_MS = 86_400_000;
const PAGE = 100;

const COLUMNS: readonly Column<AuditedAct>[] = [
  { label: "Entry", isNumber: true, isWide: true, cell: ({ seq }) => count(seq) },
  { label: "At", cell: ({ at }) => clock(at) },
  { label: "Who", cell: ({ actor }) => <span class="mono">{actor}</span> },
  { label: "Role", isWide: true, cell: ({ role }) => role },
  { label: "Address", isWide: true, cell: ({ address }) => address },
  { label: "Tenant", isWide: true, cell: ({ tenant }) => tenant },
  { label: "Did", grows: true, cell: ({ action }) => <span class="mono">{action}</span> },
  { label: "To", cell: ({ target }) => target && <span class="mono">{target}</span> },
  { label: "Outcome", cell: ({ outcome }) => <Outcome of={outcome} /> },
  { label: "State", isWide: true, cell: changeText },
];

/** Who did what. */
export function AuditPage() {
  const days = Number(filterOf("days") ?? 1);
  const since = new Date(Math.floor(Date.now() / 60_000) * 60_000 - days * DAY_MS).toISOString();
  const [actor, action, target, before] = ["actor", "action", "target", "cursor"].map(filterOf);
  const live = useLive<ActPage>(
    withQuery("/api/audit", { since, actor, action, target, before, limit: PAGE }),
    5000,
  );
  return (
    <>
      <div class="head">
        <h1>Audit</h1>
        {live.data && <div class="side muted">{counted(live.data.number, "entry", "entries")}</div>}
      </div>
      <div class="filters">
        <ChoiceFilter
          name="days"
          label="Of"
          choices={[
            ["", "a day"],
            ["7", "a week"],
            ["90", "90 days"],
          ]}
        />
        <TextFilter name="actor" label="Who" placeholder="key_…" />
        <TextFilter name="action" label="Did" placeholder="pause" />
        <TextFilter name="target" label="To" placeholder="an id or a name" />
      </div>
      <Loaded live={live}>
        {({ data, isOn, waiting }) => (
          <Panel>
            {!isOn && <Empty>Acts are not written down. GLUELLM_AUDIT_KEY switches that on.</Empty>}
            {waiting > PAGE && <Empty>{counted(waiting, "entry", "entries")} wait for the database.</Empty>}
            <Table
              label="Acts"
              columns={COLUMNS}
              rows={data}
              keyOf={({ seq }) => String(seq)}
              isFailed={({ outcome }) => outcome !== "done"}
              empty="Nobody did such a thing in this time."
            />
            <Pager cursor={data.length === PAGE ? data.at(-1)?.seq : undefined} />
          </Panel>
        )}
      </Loaded>
      <Check />
    </>
  );
}

function Outcome({ of }: { of: string | null }) {
  if (of === null) return <Badge state="not ended" tone="warn" />;
  return <Badge state={of} tone={of === "done" ? "ok" : "bad"} />;
}

function changeText({ beforeDigest, afterDigest }: AuditedAct): string {
  if (beforeDigest === afterDigest) return beforeDigest === null ? "" : "as before";
  if (beforeDigest === null) return "made";
  return afterDigest === null ? "gone" : "changed";
}

/** The check reads the whole chain, so that somebody has to ask for it. */
function Check() {
  const [report, setReport] = useState<AuditReport | Error | "asked">();
  const check = () => {
    setReport("asked");
    get<AuditReport>("/api/audit/verify").then(setReport, setReport);
  };
  return (
    <Panel title="Is all of it there, as it was written?">
      <div class="rowlink">
        <button type="button" onClick={check} disabled={report === "asked"}>
          Check the chain
        </button>
      </div>
      <div role="status">
        {report instanceof Error && <Fault error={report} />}
        {typeof report === "object" && !(report instanceof Error) && <Verdict of={report} />}
      </div>
    </Panel>
  );
}

function Verdict({ of: { rows, head, faults } }: { of: AuditReport }) {
  return (
    <>
      <p>
        <Badge
          state={faults.length === 0 ? "sound" : "not sound"}
          tone={faults.length === 0 ? "ok" : "bad"}
        />{" "}
        {counted(rows, "entry", "entries")}, the last one is {count(head.seq)}.
      </p>
      <ul>
        {faults.map(({ seq, kind, problem }) => (
          <li key={`${seq} ${problem}`}>
            {kind} at {count(seq)}: {problem}
          </li>
        ))}
      </ul>
    </>
  );
}
