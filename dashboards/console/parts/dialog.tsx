import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../api.ts";
import { refresh } from "../live.ts";
import { may, type Scope } from "../session.ts";
import { Fault } from "./basic.tsx";
import { say } from "./notice.tsx";

/** A modal dialog; the browser keeps the focus in it, and Esc closes it. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    element.current?.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog ref={element} onClose={onClose} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}

export interface ActionProps {
  label: string;
  /** What it will do, and what it will cost: shown before it is done. */
  explain: ComponentChildren;
  /** Does it, with what the form holds; returns what to say then. */
  act: (form: FormData) => Promise<string | undefined>;
  /** Fields of the form, if it needs any. */
  fields?: ComponentChildren;
  /** What a key has to allow; of several, one. */
  scope?: Scope | readonly Scope[];
  isDangerous?: boolean;
  /** What the button of the dialog says; default: the label. */
  confirm?: string;
}

/** A button that says what it does, and does it when that is confirmed. It is not there without its scope. */
export function Action({
  label,
  explain,
  act,
  fields,
  scope = "operate",
  isDangerous = false,
  confirm = label,
}: ActionProps) {
  const [isOpen, setOpen] = useState(false);
  const [fault, setFault] = useState<ApiError>();
  const [isBusy, setBusy] = useState(false);
  if (![scope].flat().some(may)) return null;
  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setFault(undefined);
    try {
      const told = await act(new FormData(event.currentTarget as HTMLFormElement));
      setOpen(false);
      if (told) say(told);
      refresh();
    } catch (error) {
      setFault(error as ApiError);
    } finally {
      setBusy(false);
    }
  }
  return (
    <>
      <button type="button" class={isDangerous ? "danger" : ""} onClick={() => setOpen(true)}>
        {label}
      </button>
      {isOpen && (
        <Dialog title={label} onClose={() => setOpen(false)}>
          <form onSubmit={(event) => void submit(event as unknown as SubmitEvent)}>
            <div class="explain">{explain}</div>
            {fields}
            {fault && <Fault error={fault} />}
            <div class="buttons">
              <button type="button" onClick={() => setOpen(false)}>
                Leave it
              </button>
              <button type="submit" class={isDangerous ? "danger" : "primary"} disabled={isBusy}>
                {confirm}
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </>
  );
}
