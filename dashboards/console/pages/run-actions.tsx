import { useState } from "preact/hooks";
import { post } from "../api.ts";
import { usd } from "../format.ts";
import { jsonOf } from "../json-of.ts";
import { useLive } from "../live.ts";
import { Action } from "../parts/dialog.tsx";
import { exampleOf, SchemaForm } from "../parts/schema-form.tsx";
import { go } from "../router.ts";
import type { Run, RunSignal, Schema, Step } from "../types.ts";

/** What can be done with a run; each says what it does and costs before it does it. */
export function RunActions({ run }: { run: Run }) {
  const path = `/api/runs/${encodeURIComponent(run.id)}`;
  return (
    <>
      {run.state === "running" && <Signal run={run} path={path} />}
      {run.state === "running" && (
        <Action
          label="Cancel run"
          isDangerous
          explain={
            <p>
              Ends the run, its steps and child runs. No further call is made, and calls in flight are
              aborted. The {usd(run.costUsd)} that it has cost are spent; cancelling costs nothing.
            </p>
          }
          act={async () => {
            await post(`${path}/cancel`);
            return "The run is cancelled.";
          }}
        />
      )}
      {run.state === "failed" && (
        <Action
          label="Retry run"
          explain={
            <p>
              The run goes on from the step that it failed with. That step is asked for again and paid; the
              steps that succeeded, worth {usd(run.costUsd)}, are not paid again.
            </p>
          }
          act={async () => {
            await post(`${path}/retry`);
            return "The run goes on.";
          }}
        />
      )}
    </>
  );
}

function Signal({ run, path }: { run: Run; path: string }) {
  // What it waits for may be another signal then.
  const signals = useLive<{ data: RunSignal[] }>(
    `${path}/signals?of=${encodeURIComponent(run.waitsFor.join())}`,
    0,
  );
  const known = signals.data?.data ?? [];
  const waited = known.find(({ isWaiting }) => isWaiting)?.name;
  return (
    <Action
      label="Signal"
      scope="workflow"
      explain={
        <p>
          Gives the run what a <code>ctx.waitFor</code> of this name waits for, now or when it comes to it.
          The signal costs nothing; what the run does then may.
        </p>
      }
      fields={<SignalFields known={known} first={waited ?? ""} />}
      act={async (form) => {
        const name = String(form.get("name"));
        await post(`${path}/signals`, { name, data: jsonOf(form.get("data")) });
        return `The run has the signal ${name}.`;
      }}
    />
  );
}

/** The name of a signal, and its data: a form where its schema is known, else JSON. */
function SignalFields({ known, first }: { known: readonly RunSignal[]; first: string }) {
  const [name, setName] = useState(first);
  const schema = known.find((signal) => signal.name === name)?.schema;
  return (
    <div class="form">
      <label>
        Name
        <input
          name="name"
          required
          maxLength={200}
          list="signals"
          defaultValue={first}
          onInput={({ currentTarget }) => setName(currentTarget.value)}
        />
        <datalist id="signals">
          {known.map((signal) => (
            <option key={signal.name} value={signal.name} />
          ))}
        </datalist>
      </label>
      {schema ? (
        <SignalData key={name} schema={schema} />
      ) : (
        <label>
          Data (JSON)
          <textarea name="data" spellcheck={false} defaultValue="{}" />
        </label>
      )}
    </div>
  );
}

function SignalData({ schema }: { schema: Schema }) {
  const [data, setData] = useState(() => exampleOf(schema));
  return (
    <fieldset>
      <legend>Data</legend>
      <SchemaForm schema={schema} value={data} onChange={setData} />
      <input type="hidden" name="data" value={JSON.stringify(data)} />
    </fieldset>
  );
}

/** A new run from a step on, with another input if wanted: what came before is taken over. */
export function Fork({ run, step }: { run: Run; step: Step }) {
  return (
    <Action
      label="Fork from here"
      scope="workflow"
      explain={
        <>
          <p>
            Starts a new run of {run.workflow} that takes over all that ended before <code>{step.step}</code>:
            that is not paid again. From this step on everything is asked for anew.
          </p>
          <p>
            This run has cost {usd(run.costUsd)} in all; the new one costs at most about as much, when its
            answers are as long.
          </p>
        </>
      }
      fields={
        <div class="form">
          <label>
            Another input (JSON), or empty for the same
            <textarea name="input" spellcheck={false} />
          </label>
        </div>
      }
      act={async (form) => {
        const given = String(form.get("input")).trim();
        const changes = given === "" ? {} : { changes: { input: jsonOf(given) } };
        const path = `/api/runs/${encodeURIComponent(run.id)}/fork`;
        const { id } = await post<{ id: string }>(path, { fromStep: step.step, ...changes });
        go(`/runs/${encodeURIComponent(id)}`);
        return `Forked as ${id}.`;
      }}
    />
  );
}
