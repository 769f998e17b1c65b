import { useEffect, useState } from "preact/hooks";
import { type ApiError, post, withQuery } from "../api.ts";
import { count, counted, usd } from "../format.ts";
import { jsonOf } from "../json-of.ts";
import { useLive } from "../live.ts";
import { Content, Facts, Fault, Loaded, Panel, Time } from "../parts/basic.tsx";
import { Action } from "../parts/dialog.tsx";
import { ChoiceFilter, filterOf } from "../parts/filters.tsx";
import { type Column, Table } from "../parts/table.tsx";
import type { DeadLetter, LetterGroup, LetterReport } from "../report-types.ts";

const PAGES = { job: "jobs", run: "runs", batch: "batches" };

/** Which letters an action is for. */
type Where = Partial<Record<"id" | "kind" | "code" | "model" | "workflow", string>>;

function whereOf({ kind, code, subject }: Pick<LetterGroup, "kind" | "code" | "subject">): Where {
  if (kind === "batch") return { kind, id: subject };
  return { kind, code, ...(kind === "run" ? { workflow: subject } : { model: subject }) };
}

const GROUPS: readonly Column<LetterGroup>[] = [
  { label: "Cause", cell: ({ code }) => <strong>{code}</strong> },
  { label: "Of", cell: ({ kind, subject }) => `${kind === "batch" ? "rows" : `${kind}s`} of ${subject}` },
  { label: "Letters", isNumber: true, cell: ({ count: letters }) => count(letters) },
  { label: "Latest", isWide: true, cell: ({ lastAt }) => <Time at={lastAt} /> },
  {
    label: "For example",
    grows: true,
    isWide: true,
    cell: ({ example, hint }) => <span title={example.message}>{hint ?? example.message}</span>,
  },
  {
    label: "Act",
    cell: (group) =>
      // The files of a program's batch are not the server's.
      !group.hint && (
        <Letters
          where={whereOf(group)}
          of={`${count(group.count)} ${group.kind === "batch" ? "rows" : "letters"}`}
        />
      ),
  },
];

const LETTERS: readonly Column<DeadLetter>[] = [
  {
    label: "Letter",
    cell: ({ id }) => <span class="mono">{id.length > 20 ? `${id.slice(0, 18)}…` : id}</span>,
  },
  { label: "Cause", cell: ({ code }) => <strong>{code}</strong> },
  { label: "Of", isWide: true, cell: ({ subject }) => subject },
  { label: "Failed", isWide: true, cell: ({ failedAt }) => <Time at={failedAt} /> },
  { label: "What happened", grows: true, cell: ({ message }) => <span title={message}>{message}</span> },
  {
    label: "Act",
    cell: ({ id, kind, hint }) => !hint && <Letters where={{ id, kind }} of="this letter" />,
  },
];

/** What failed for good: by cause, with what can be done about it. */
export function DeadLettersPage() {
  const filter = { kind: filterOf("kind"), code: filterOf("code") };
  const groups = useLive<{ data: LetterGroup[] }>(withQuery("/api/dead-letters", filter), 5000);
  const letters = useLive<{ data: DeadLetter[] }>(withQuery("/api/dead-letters/list", filter), 5000);
  const all = useLive<{ data: LetterGroup[] }>("/api/dead-letters", 0);
  const codes = [...new Set(all.data?.data.map(({ code }) => code))].sort();
  return (
    <>
      <div class="head">
        <h1>Dead letters</h1>
        <div class="side">
          {(filter.kind || filter.code) && (
            <Letters where={whereFilter(filter)} of="all that the filter shows" />
          )}
        </div>
      </div>
      <div class="filters">
        <ChoiceFilter
          name="kind"
          label="Kind"
          choices={[
            ["", "any"],
            ["job", "jobs"],
            ["run", "runs"],
            ["batch", "batches"],
          ]}
        />
        <ChoiceFilter
          name="code"
          label="Cause"
          choices={[["", "any"], ...codes.map((code) => [code, code] as const)]}
        />
      </div>
      <Panel title="By cause">
        <Loaded live={groups}>
          {({ data }) => (
            <Table
              label="Dead letters by cause"
              columns={GROUPS}
              rows={data}
              keyOf={({ kind, code, subject }) => `${kind} ${code} ${subject}`}
              empty="Nothing failed for good."
            />
          )}
        </Loaded>
      </Panel>
      <Panel title="Letters">
        <Loaded live={letters}>
          {({ data }) => (
            <Table
              label="Dead letters"
              columns={LETTERS}
              rows={data}
              keyOf={({ kind, id }) => `${kind} ${id}`}
              hrefOf={({ id }) => `/dead-letters/${encodeURIComponent(id)}`}
              isFailed={() => true}
              empty="None."
            />
          )}
        </Loaded>
      </Panel>
    </>
  );
}

function whereFilter({ kind, code }: { kind: string | undefined; code: string | undefined }): Where {
  return { ...(kind && { kind }), ...(code && { code }) };
}

/** One letter, with its request. */
export function DeadLetterPage({ id }: { id: string }) {
  const letter = useLive<DeadLetter & Record<string, unknown>>(
    `/api/dead-letters/${encodeURIComponent(id)}`,
    0,
  );
  return (
    <>
      <div class="head">
        <h1 class="mono">{id}</h1>
        <div class="side">
          {letter.data && !letter.data.hint && (
            <Letters where={{ id, kind: letter.data.kind }} of="this letter" />
          )}
        </div>
      </div>
      <Loaded live={letter}>
        {({ kind, code, subject, message, failedAt, attempts, costUsd, hint, request }) => (
          <Panel>
            <Facts
              of={[
                ["Cause", code],
                ["What happened", message],
                ["Of", subject],
                ["Failed", <Time at={failedAt} />],
                ["Attempts", count(attempts)],
                ["Paid", usd(costUsd)],
                ["What to do", hint && <code>{hint}</code>],
                ["All of it", <a href={`/${PAGES[kind]}/${encodeURIComponent(id)}`}>the {kind}</a>],
              ]}
            />
            <div class="body">
              <Content title="Request" value={request} />
            </div>
          </Panel>
        )}
      </Loaded>
    </>
  );
}

/** Replays or drops letters; a dry run says before how many, and for how much. */
function Letters({ where, of }: { where: Where; of: string }) {
  const [model, setModel] = useState("");
  const isRun = where.kind === "run";
  const isBatch = where.kind === "batch";
  return (
    <span class="rowlink">
      <Action
        label="Replay"
        explain={
          <>
            <p>
              {isBatch
                ? `Sends ${of} again in a new batch. Rows that have an answer are not paid again.`
                : `Lets ${of} try again. What was paid is kept; the calls from the failed one on are paid.`}
            </p>
            <DryRun act="replay" body={{ where, ...(model && { model }) }} />
          </>
        }
        fields={
          isRun ? undefined : (
            <div class="form">
              <label>
                Another model, or empty for the same
                <input
                  name="model"
                  placeholder="entry:model"
                  onChange={({ currentTarget }) => setModel(currentTarget.value.trim())}
                />
              </label>
              <label>
                Changes of the request (JSON), or empty for none
                <textarea name="edit" spellcheck={false} placeholder={'{ "max_tokens": 500 }'} />
              </label>
              {!isBatch && (
                <small>With either, the jobs become new ones; the old ones keep what they have.</small>
              )}
            </div>
          )
        }
        act={async (form) => {
          const edit = jsonOf(form.get("edit"));
          const given = String(form.get("model") ?? "").trim();
          const body = { where, ...(given && { model: given }), ...(edit !== undefined && { edit }) };
          return told("replayed", await post<LetterReport>("/api/dead-letters/replay", body));
        }}
      />
      {!isRun && !isBatch && (
        <Action
          label="Drop"
          isDangerous
          explain={
            <>
              <p>Takes {of} out of the queues for good; they cannot be replayed then. It costs nothing.</p>
              <DryRun act="drop" body={{ where }} />
            </>
          }
          act={async () => told("dropped", await post<LetterReport>("/api/dead-letters/drop", { where }))}
        />
      )}
    </span>
  );
}

function told(what: string, { changed, failed, failures }: LetterReport): string {
  const why = failures[0] ? `: ${failures[0].message}` : "";
  return `${counted(changed, "letter")} ${changed === 1 ? "is" : "are"} ${what}${failed > 0 ? `, ${count(failed)} ${failed === 1 ? "is" : "are"} not${why}` : ""}.`;
}

/** What would come of an action. */
function DryRun({ act, body }: { act: "replay" | "drop"; body: object }) {
  const [report, setReport] = useState<LetterReport>();
  const [fault, setFault] = useState<ApiError>();
  const asked = JSON.stringify({ ...body, dryRun: true });
  useEffect(() => {
    setReport(undefined);
    setFault(undefined);
    post<LetterReport>(`/api/dead-letters/${act}`, JSON.parse(asked)).then(setReport, setFault);
  }, [act, asked]);
  if (fault) return <Fault error={fault} />;
  if (!report) return <p class="muted">Counting …</p>;
  const { matched, rows, quoteUsd } = report;
  const price = quoteUsd === null ? "for an unknown price" : `for at most about ${usd(quoteUsd)}`;
  return (
    <p>
      <strong>
        {counted(matched, "letter")}
        {rows > 0 && ` with ${counted(rows, "row")}`}
        {act === "replay" && `, their next calls ${price}`}.
      </strong>
    </p>
  );
}
