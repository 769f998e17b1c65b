import { post } from "../api.ts";
import { usd } from "../format.ts";
import { jsonOf } from "../json-of.ts";
import { Action } from "../parts/dialog.tsx";
import { go } from "../router.ts";
import type { Run, Step } from "../types.ts";

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
  const waited = run.waitsFor.map((reason) => /signal "([^"]+)"/.exec(reason)?.[1]).find(Boolean) ?? "";
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
      fields={
        <div class="form">
          <label>
            Name
            <input name="name" required maxLength={200} defaultValue={waited} />
          </label>
          <label>
            Data (JSON)
            <textarea name="data" spellcheck={false} defaultValue="{}" />
          </label>
        </div>
      }
      act={async (form) => {
        const name = String(form.get("name"));
        await post(`${path}/signals`, { name, data: jsonOf(form.get("data")) });
        return `The run has the signal ${name}.`;
      }}
    />
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
